// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_CAPTURE_EVENT_BOX_INTERNAL_H_
#define SLUICE_LIB_NIC_CAPTURE_EVENT_BOX_INTERNAL_H_

#include <sys/eventfd.h>

#include <mutex>
#include <utility>
#include <vector>

#include "base/unique_fd_internal.h"
#include "sluice/nic/nic.h"

namespace sluice {

// Events on their way from the queues to the control thread. Any thread; they are rare.
class EventBox {
 public:
  EventBox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

  bool valid() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }  // readable while there are any

  void Add(NicEvent event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A host that never asks must not make us grow: the oldest goes.
    if (events_.size() == kMost) events_.erase(events_.begin());
    events_.push_back(std::move(event));
    eventfd_write(fd_.get(), 1);
  }
  std::vector<NicEvent> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    eventfd_t count = 0;
    eventfd_read(fd_.get(), &count);
    return std::exchange(events_, {});
  }

 private:
  static constexpr size_t kMost = 16;

  const UniqueFd fd_;
  std::mutex mutex_;
  std::vector<NicEvent> events_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_CAPTURE_EVENT_BOX_INTERNAL_H_
