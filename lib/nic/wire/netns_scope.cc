// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/netns_scope_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<NetnsScope>> NetnsScope::Enter(const std::string& path) {
  if (path.empty()) return std::unique_ptr<NetnsScope>(new NetnsScope(UniqueFd()));
  const auto refuse = [&](const char* stage) {
    return ErrorStatus({.device = absl::StrCat("network namespace ", path),
                        .stage = stage,
                        .error_number = errno,
                        .remedy = "name a namespace file, as /run/netns/NAME, and run with CAP_SYS_ADMIN"});
  };
  const UniqueFd there(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there.valid()) return refuse("open");
  UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home.valid()) return refuse("remember our own");
  if (setns(there.get(), CLONE_NEWNET) != 0) return refuse("enter");
  return std::unique_ptr<NetnsScope>(new NetnsScope(std::move(home)));
}

// The way back fails only for want of memory, and a thread left in a foreign namespace is worse than one that waits.
NetnsScope::~NetnsScope() {
  while (home_.valid() && setns(home_.get(), CLONE_NEWNET) != 0 && errno == ENOMEM) {
  }
}

}  // namespace sluice
