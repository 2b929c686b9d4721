// SPDX-License-Identifier: Apache-2.0
#include <sys/eventfd.h>

#include "nic/vhost/guest_rings_internal.h"

namespace sluice {

void GuestRing::Call() const {
  if (setup.call != nullptr) (void)eventfd_write(setup.call->get(), 1);
}

void GuestRing::Finish() {
  if (!sink.has_value()) return;
  sink->Finish();
  if (sink->TakeCall()) Call();
}

void GuestRings::Show(uint16_t index) {
  const GuestRing& ring = rings_[index];
  const bool transmitq = IsTransmitq(index);
  const uint64_t bit = uint64_t{1} << (index / 2);
  std::atomic<uint64_t>& shown = transmitq ? sending_ : receiving_;
  // A transmitq that is not enabled is polled too: what comes out is discarded (vhost-user, "Ring states").
  if (ring.served && (transmitq || ring.enabled)) {
    shown.fetch_or(bit, std::memory_order_release);
  } else {
    shown.fetch_and(~bit, std::memory_order_release);
  }
}

}  // namespace sluice
