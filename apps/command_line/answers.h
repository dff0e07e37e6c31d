// What a program answers to its user on stderr: one line that says what is wrong, and an exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <new>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Prints "PROGRAM: LINE" and returns the code. The line may hold names from a file, which must not
// speak to the terminal: printable (apps/files/quote.h) makes them harmless.
int say(const std::string& program, int code, std::string line);

// Says what CLI11 found wrong with the command line, and what may have been meant; returns 2.
int explain(const std::string& program, const CLI::App& app, const CLI::ParseError& error);

// "out of memory: 8.0 GB asked for the shape ...", or less where nobody knows more.
std::string out_of_memory(const std::bad_alloc& error);

// What was printed counts only if it arrived. Returns 0, or says that it did not and returns 2.
int flush_output(const std::string& program);

}  // namespace backflow::inline BACKFLOW_PRECISION
