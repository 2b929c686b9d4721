// SPDX-License-Identifier: Apache-2.0
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "nic/model/doorbell_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::Status Doorbell::Open(const char* device) {
  owed_ = 0;
  fd_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (fd_.valid()) return absl::OkStatus();
  return ErrorStatus({.device = device,
                      .stage = "make a wake-up descriptor",
                      .error_number = errno,
                      .remedy = "raise the limit of open files (ulimit -n), or close some"});
}

void Doorbell::Close() { fd_ = UniqueFd(); }

// Fails only when 2^64 - 2 rings wait to be read: the sleeper is awake by then.
void Doorbell::Ring() { (void)eventfd_write(fd_.get(), 1); }

void Doorbell::TakeAll() {
  eventfd_t rings = 0;
  (void)eventfd_read(fd_.get(), &rings);
}

void Doorbell::ReadRings() {
  eventfd_t rings = 0;
  if (eventfd_read(fd_.get(), &rings) == 0) owed_ -= std::min(owed_, rings);
}

}  // namespace sluice
