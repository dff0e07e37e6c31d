// The files in a tar archive, found by its headers and read where they lie: nothing is unpacked.
//
//   512 bytes  a header: name, size and checksum in octal, the type of the member
//   the rest   the member's bytes, up to a multiple of 512; then the next header
//   the end    a header of zeros
//
// Names longer than a header holds come in a member before: of type L (GNU) or x (pax).
// Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "backflow/apps/files/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

class TarFile {
 public:
  struct Member {
    std::uint64_t header, data, size;  // where they begin in the archive, and a number of bytes
  };

  // Indexes the regular files whose name is wanted. Throws an Error naming the archive when any of
  // its headers is damaged, or when it is cut short.
  TarFile(const std::filesystem::path& path,
          const std::function<bool(const std::string& name)>& wanted);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<Member>& members() const { return members_; }  // in the archive's order
  std::string name(const Member& member) const;
  std::string contents(const Member& member) const;

 private:
  struct Entry {
    std::string name;
    char type;
    std::uint64_t data, size, next;
  };
  // Nothing at the end of the archive.
  std::optional<Entry> entry_at(std::uint64_t header) const;
  Entry single_entry_at(std::uint64_t header, const std::string& block) const;
  std::string read(std::uint64_t offset, std::uint64_t size) const;

  OpenFile file_;
  std::vector<Member> members_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
