// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_ALARM_INTERNAL_H_
#define SLUICE_NIC_VERBS_ALARM_INTERNAL_H_

// One descriptor for all that TakeEvents may have to tell: events of the card, and queues that failed.

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/unique_fd_internal.h"

namespace sluice {

class VerbsAlarm {
 public:
  // `card` is the descriptor of its events.
  explicit VerbsAlarm(int card)
      : bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), both_(epoll_create1(EPOLL_CLOEXEC)) {
    Watch(card);
    Watch(bell_.get());
  }

  int fd() const { return both_.get(); }

  // Any thread.
  void Ring() const { (void)eventfd_write(bell_.get(), 1); }
  void Silence() const {
    eventfd_t rings = 0;
    (void)eventfd_read(bell_.get(), &rings);
  }

 private:
  void Watch(int fd) const {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    (void)epoll_ctl(both_.get(), EPOLL_CTL_ADD, fd, &wanted);
  }

  const UniqueFd bell_;
  const UniqueFd both_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_ALARM_INTERNAL_H_
