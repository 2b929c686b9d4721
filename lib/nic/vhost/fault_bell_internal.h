// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_FAULT_BELL_INTERNAL_H_
#define SLUICE_NIC_VHOST_FAULT_BELL_INTERNAL_H_

#include <sys/eventfd.h>

#include <atomic>

#include "base/unique_fd_internal.h"

namespace sluice {

// Tells the control thread, once, that some ring stopped by itself.
class FaultBell {
 public:
  // Control thread.
  bool Open() {
    fd_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    rung_.store(false, std::memory_order_relaxed);
    return fd_.valid();
  }
  void Close() { fd_ = UniqueFd(); }
  int fd() const { return fd_.get(); }
  // Whether it was rung since.
  bool TakeIn() {
    eventfd_t count = 0;
    if (eventfd_read(fd_.get(), &count) != 0) return false;
    rung_.store(false, std::memory_order_release);  // before who asks looks at the rings
    return true;
  }

  // Queues.
  void Ring() {
    if (!rung_.exchange(true, std::memory_order_acq_rel)) (void)eventfd_write(fd_.get(), 1);
  }

 private:
  UniqueFd fd_;
  std::atomic<bool> rung_{false};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_FAULT_BELL_INTERNAL_H_
