// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <system_error>

#include "nic/softverbs/service_internal.h"

namespace sluice {

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
    pollfd watched[] = {{bell_.get(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
    const int timeout = Work(watched[1].fd, watched[2].fd);
    if (timeout == 0 || poll(watched, 3, timeout) <= 0) continue;
    uint64_t rings;
    if ((watched[0].revents & POLLIN) != 0) (void)!read(bell_.get(), &rings, sizeof(rings));
  }
}

// How long to sleep, in milliseconds, and on what; -1 = until somebody waits.
int SoftService::Work(int& wire, int& service) {
  constexpr int kForEver = -1, kSoon = 1, kRarely = 100;
  const std::lock_guard lock(gate_);
  if (!wanted_()) return kForEver;
  if (port_.Step()) return 0;
  const SoftPort::Quiet quiet = port_.Rest();
  wire = quiet.wire_fd;
  service = quiet.service_fd;
  if (!quiet.may_sleep) return 0;
  return quiet.blocked || quiet.wire_fd < 0 ? kSoon : kRarely;
}

}  // namespace sluice
