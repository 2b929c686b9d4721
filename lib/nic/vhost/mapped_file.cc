// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/vhost/mapped_file_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// What an offset into the file has to be a multiple of. Files on huge pages say theirs as their block.
uint64_t PageOf(const struct stat& file) {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t block = static_cast<uint64_t>(file.st_blksize);
  return block > page && (block & (block - 1)) == 0 ? block : page;
}

bool Seal(int fd) {
  (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);  // refused where it is sealed already, or cannot be
  const int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

}  // namespace

absl::StatusOr<MappedFile> MapFile(int fd, uint64_t offset, uint64_t bytes) {
  struct stat file {};
  if (fstat(fd, &file) != 0) return VhostBreach("its descriptor is none", kShareGuestMemory, errno);
  if (!S_ISREG(file.st_mode)) return VhostBreach("its descriptor is no file", kShareGuestMemory);
  const bool sealed = Seal(fd);  // and only then looks at its size
  fstat(fd, &file);
  const uint64_t size = static_cast<uint64_t>(file.st_size);
  if (bytes == 0 || offset > size || bytes > size - offset) {
    return VhostBreach(absl::StrCat(bytes, " bytes from ", offset, " on, of a file of ", size));
  }
  const uint64_t page = PageOf(file);
  const uint64_t before = offset % page;
  const size_t length = (before + bytes + page - 1) / page * page;
  void* const mapped =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset - before));
  if (mapped == MAP_FAILED) return VhostBreach("its file can't be mapped", kShareGuestMemory, errno);
  madvise(mapped, length, MADV_DONTDUMP);  // a dump of the host is no place for what guests keep secret
  return MappedFile{.here = static_cast<uint8_t*>(mapped) + before,
                    .mapping = std::make_shared<GuestMapping>(mapped, length),
                    .device = file.st_dev,
                    .inode = file.st_ino,
                    .sealed = sealed};
}

absl::Status VhostBreach(std::string what, std::string remedy, int error_number) {
  return ErrorStatus({.error_number = error_number, .what = std::move(what), .remedy = std::move(remedy)});
}

}  // namespace sluice
