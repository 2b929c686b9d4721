// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/text_file_internal.h"
#include "base/unique_fd_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

absl::Status Unreadable(const std::string& path, absl::string_view stage) {
  return ErrorStatus({.device = path,
                      .stage = std::string(stage),
                      .error_number = errno,
                      .remedy = "check that sysfs and proc are mounted and may be read"});
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Unreadable(path, "open");
  std::string text;
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t got = read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Unreadable(path, "read");
    if (got == 0) break;
    const absl::string_view piece(chunk.data(), static_cast<size_t>(got));
    text.append(piece.data(), piece.size());
    if (text.size() > kLongestTextFile || piece.find('\0') != piece.npos) {
      return ErrorStatus(absl::StatusCode::kDataLoss, {.device = path,
                                                       .stage = "read",
                                                       .what = "not a short text",
                                                       .remedy = "check what is mounted there"});
    }
  }
  return std::string(absl::StripAsciiWhitespace(text));
}

}  // namespace sluice
