// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_UNIQUE_FD_INTERNAL_H_
#define SLUICE_BASE_UNIQUE_FD_INTERNAL_H_

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sluice {

// Owns a file descriptor and closes it; -1 = none. Keeps errno, so that it may close on the way out of a
// failure.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() {
    const int kept = errno;
    if (fd_ >= 0) close(fd_);
    errno = kept;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace sluice

#endif  // SLUICE_BASE_UNIQUE_FD_INTERNAL_H_
