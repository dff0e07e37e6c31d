// Precompiled: what every test includes and is slow to read.
#include <gtest/gtest.h>
