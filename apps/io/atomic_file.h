// Whole files, read and written: a written file is either the complete new one or the old one.
//
// Write a temporary file beside it, fsync, rename over it, fsync the directory. Throws an Error
// naming the path and the system's reason; then the temporary is gone and the old file untouched.
// A file-size limit is such an error only while the program ignores SIGXFSZ.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

void write_file_atomically(const std::filesystem::path& path, std::string_view contents);
// The parts one after another, without joining them in memory.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::string_view> parts);

std::string read_file(const std::filesystem::path& path);

}  // namespace backflow::inline BACKFLOW_PRECISION
