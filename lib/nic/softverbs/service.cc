// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <system_error>

#include "nic/softverbs/soft_device_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::Status SoftService::Listen(const std::string& path) {
  if (absl::Status bound = control_.Bind(path); !bound.ok()) return bound;
  if (Start()) return absl::OkStatus();
  return ErrorStatus({.device = path, .stage = "start the control thread", .error_number = EAGAIN});
}

bool SoftService::Start() {
  if (!bell_.valid()) bell_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell_.valid()) return false;
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error&) {
      return false;
    }
  }
  Wake();
  return true;
}

void SoftService::Stop() {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_release);
  Wake();
  thread_.join();
}

void SoftService::Wake() const {
  const uint64_t one = 1;
  (void)!write(bell_.get(), &one, sizeof(one));
}

// Works in turns of one lock each, so that the program gets in between.
void SoftService::Run() {
  while (!stop_.load(std::memory_order_acquire)) {
    pollfd watched[] = {
        {bell_.get(), POLLIN, 0}, {control_.fd(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
    const int timeout = Work(watched[2].fd, watched[3].fd);
    if (poll(watched, 4, timeout) <= 0) continue;
    uint64_t rings;
    if ((watched[0].revents & POLLIN) != 0) (void)!read(bell_.get(), &rings, sizeof(rings));
    if (watched[1].revents != 0) control_.Serve(device_);
  }
}

// How long to sleep, in milliseconds, and on what; -1 = until somebody waits.
int SoftService::Work(int& wire, int& service) {
  constexpr int kForEver = -1, kSoon = 1, kRarely = 100;
  const std::lock_guard lock(device_.gate);
  if (device_.armed == 0) return kForEver;
  if (device_.Step()) return 0;
  const SoftPort::Quiet quiet = device_.port.Rest();
  wire = quiet.wire_fd;
  service = quiet.service_fd;
  if (!quiet.may_sleep) return 0;
  return quiet.blocked || device_.has_late || quiet.wire_fd < 0 ? kSoon : kRarely;
}

}  // namespace sluice
