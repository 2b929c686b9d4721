// SPDX-License-Identifier: Apache-2.0
// Copy engines of a port: one for each receiveq.

#include "nic/vhost/vhost_nic_internal.h"

namespace sluice {

// A ring that cannot have one does without.
std::unique_ptr<HeldFrames> VhostNicImpl::MakeHeldFrames(QueueId receiveq) {
  if (options_.copies.engine == nullptr) return nullptr;
  absl::StatusOr<std::unique_ptr<CopyEngine>> engine = options_.copies.engine(receiveq);
  copy_engine_ = engine.ok() ? (*engine)->name() : std::string(engine.status().message());
  if (!engine.ok()) return nullptr;
  return std::make_unique<HeldFrames>(*std::move(engine), options_.copies);
}

CopyCounts VhostNicImpl::CopiesNow() const {
  CopyCounts sum = ended_copies_;
  for (int pair = 0; pair < rings_.pairs(); ++pair) {
    const GuestRing& ring = rings_.receiveq(pair);
    if (ring.sink.has_value() && ring.sink->held() != nullptr) sum += ring.sink->held()->copies().counts();
  }
  return sum;
}

}  // namespace sluice
