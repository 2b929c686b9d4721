// SPDX-License-Identifier: Apache-2.0
// What a poller does when packets of a flow are to be joined before they are received: see merger_internal.h.
#include <utility>

#include "nic/model/receiver_internal.h"
#include "nic/model/rx_queue_internal.h"

namespace sluice {

absl::Status ModelRxQueue::OpenMerger(const CoalesceOptions& options, const Clock& clock) {
  absl::StatusOr<std::unique_ptr<Merger>> merger = Merger::Create(options, clock);
  if (!merger.ok()) return merger.status();
  merger_ = *std::move(merger);
  direct_ = false;
  return absl::OkStatus();
}

// Zero means that nothing waits, so it goes on while all that came was joined to something and more may be behind it: until
// a packet is full or has its age.
size_t ModelRxQueue::ReceiveMerged(Burst& burst) {
  bool waits = true;
  while (waits && !merger_->ready()) {
    Burst& arrivals = merger_->arrivals();
    const Taken taken = ring_ == nullptr ? TakeFromWire(arrivals) : TakeFromRing(arrivals);
    merger_->Join(!taken.more);
    waits = taken.packets != 0;
  }
  const size_t received = merger_->Release(burst);
  Count(burst.Extend(0) - received, received);
  return received;
}

ModelRxQueue::Taken ModelRxQueue::TakeFromWire(Burst& burst) {
  const size_t room = burst.room();
  const size_t arrived = receiver_.wire().Receive(burst);
  Packet** const packets = burst.Extend(0) - arrived;
  const Packet::Arrival here(receiver_.port(), id_);
  for (size_t i = 0; i < arrived; ++i) packets[i]->Arrive(here);
  const size_t kept = receiver_.InspectAll(packets, arrived, drops_);
  burst.DropBack(arrived - kept);
  return {.packets = kept, .more = arrived == room};
}

}  // namespace sluice
