// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "nic/softverbs/counter_file_internal.h"

namespace sluice {

void CounterFile::Open(const std::string& path) {
  Close();
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  struct stat file {};
  if (fstat(fd, &file) == 0 && file.st_size >= static_cast<off_t>(kDigits)) {
    void* const mapped = mmap(nullptr, kDigits, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) text_ = static_cast<char*>(mapped);
  }
  close(fd);
}

void CounterFile::Close() {
  if (text_ != nullptr) munmap(std::exchange(text_, nullptr), kDigits);
}

void CounterFile::Show(uint64_t value) {
  if (text_ == nullptr || std::exchange(shown_, value) == value) return;
  for (size_t i = kDigits; i > 0; --i, value /= 10) text_[i - 1] = static_cast<char>('0' + value % 10);
}

}  // namespace sluice
