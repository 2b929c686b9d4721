// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/unique_fd_internal.h"
#include "base/unix_address_internal.h"
#include "nic/softverbs/control_socket_internal.h"
#include "sluice/base/status.h"
#include "sluice/nic/software_verbs_config.h"

namespace sluice {
namespace {

constexpr timeval kPatience = {.tv_sec = 5, .tv_usec = 0};

absl::Status Unheard(const std::string& path, const char* stage) {
  return ErrorStatus(absl::StatusCode::kUnavailable,
                     {.device = absl::StrCat("control socket ", path),
                      .stage = stage,
                      .error_number = errno,
                      .remedy = "give the path of a device that a program has open now"});
}

}  // namespace

absl::StatusOr<std::string> TellSoftwareVerbs(const std::string& path, absl::string_view order) {
  const UniqueFd line(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  setsockopt(line.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
  const std::optional<UnixAddress> address = UnixAddress::Of(path);
  errno = ENAMETOOLONG;
  if (!address.has_value() || connect(line.get(), address->generic(), address->length()) != 0) {
    return Unheard(path, "connect");
  }
  std::string answer(kLongestAnswer, '\0');
  if (send(line.get(), order.data(), order.size(), MSG_NOSIGNAL) < 0) return Unheard(path, "send");
  const ssize_t got = recv(line.get(), answer.data(), answer.size(), 0);
  if (got <= 0) return Unheard(path, "wait for an answer");
  answer.resize(static_cast<size_t>(got));
  absl::string_view said = answer;
  if (absl::ConsumePrefix(&said, "ok")) return std::string(absl::StripPrefix(said, "\n"));
  absl::ConsumePrefix(&said, "wrong: ");
  return absl::InvalidArgumentError(said);
}

}  // namespace sluice
