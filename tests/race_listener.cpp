// Fails the test during which ThreadSanitizer finds a race.
#include <gtest/gtest.h>

// Called by ThreadSanitizer for each report.
extern "C" void __tsan_on_report(void*) { ADD_FAILURE() << "a race, see the report above"; }
