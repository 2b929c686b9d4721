// SPDX-License-Identifier: Apache-2.0
// What the front-end asks for, on the control thread.

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "nic/vhost/vhost_nic_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {

void VhostNicImpl::StartRing(const VhostRingSetup& setup) {
  GuestRing& ring = rings_.at(setup.index);
  const RingShape shape = ShapeOf(setup.features, setup.size);
  const RingPosition position =
      shape.packed ? RingPosition::OfPacked(setup.base) : RingPosition::OfSplit(setup.place);
  MakeEnd(setup.index);
  if (IsTransmitq(setup.index)) {
    ring.source->Start(shape, setup.place, position);
  } else {
    ring.sink->Start(shape, setup.place, position);
  }
  ring.failed = false;
  told_faults_[setup.index] = RingFault::kNone;
  Serve(setup);
  const Within gate(ring.gate);
  ring.Call();  // for what the one before us gave back, and did not live to call for
}

// Once for all starts.
void VhostNicImpl::MakeEnd(uint16_t index) {
  GuestRing& ring = rings_.at(index);
  if (!IsTransmitq(index)) {
    if (!ring.sink.has_value()) ring.sink.emplace(MakeHeldFrames(QueueId{static_cast<uint16_t>(index / 2)}));
  } else if (!ring.source.has_value()) {
    VhostRxQueue& queue = QueueOf(index);
    ring.source.emplace(GuestSourceOptions{.pool = queues_.pool,
                                           .owner = queues_.owner,
                                           .arrival = Packet::Arrival(queues_.port, queue.id()),
                                           .drops = &queue.drops(),
                                           .copy_up_to = options_.copy_up_to,
                                           .wake = queue.bell()});
  }
}

// Lets the queues at a ring that is ready; nobody has touched it until here.
void VhostNicImpl::Serve(const VhostRingSetup& setup) {
  GuestRing& ring = rings_.at(setup.index);
  {
    const Within gate(ring.gate);
    ring.setup = setup;
    ring.enabled = setup.enabled;
    ring.served = true;
  }
  rings_.Show(setup.index);
  if (!IsTransmitq(setup.index)) return;
  QueueOf(setup.index).Watch(setup.kick);
  QueueOf(setup.index).Ring();
}

void VhostNicImpl::RestRing(uint16_t index) {
  GuestRing& ring = rings_.at(index);
  {
    const Within gate(ring.gate);
    ring.Finish();
    ring.served = false;
  }
  rings_.Show(index);
  if (!IsTransmitq(index)) return;
  QueueOf(index).Unwatch(ring.setup.kick);
  QueueOf(index).Ring();  // who sleeps asks the others only
}

void VhostNicImpl::ResumeRing(const VhostRingSetup& setup) {
  GuestRing& ring = rings_.at(setup.index);
  if (IsTransmitq(setup.index)) {
    ring.source->Replace(setup.place);
  } else {
    ring.sink->Replace(setup.place);
  }
  Serve(setup);
}

uint32_t VhostNicImpl::StopRing(uint16_t index) {
  RestRing(index);
  GuestRing& ring = rings_.at(index);
  const bool transmitq = IsTransmitq(index);
  const VhostRingSetup was = std::exchange(ring.setup, {});
  if (transmitq) WaitForLoans(*ring.source);
  const RingPosition stopped = transmitq ? ring.source->Stop() : ring.sink->Stop();
  const bool call = transmitq ? ring.source->TakeCall() : ring.sink->TakeCall();
  if (call && was.call != nullptr) (void)eventfd_write(was.call->get(), 1);
  return stopped.Base(Has(was.features, VirtioFeature::kPacked));
}

// Packets that hold the guest's bytes are under way to other ports, or in a burst of a poller: most are there in no time. Who
// keeps one for longer finds in it what the guest writes there next.
void VhostNicImpl::WaitForLoans(GuestSource& source) {
  constexpr absl::Duration kStep = absl::Microseconds(100);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(20);
  while (source.Reclaim(), source.lent() > 0 && absl::Now() < deadline) absl::SleepFor(kStep);
}

void VhostNicImpl::EnableRing(uint16_t index, bool enabled) {
  GuestRing& ring = rings_.at(index);
  {
    const Within gate(ring.gate);
    if (!enabled) ring.Finish();  // for no queue comes to look
    ring.enabled = enabled;
  }
  rings_.Show(index);
  if (IsTransmitq(index)) QueueOf(index).Ring();
}

void VhostNicImpl::SetCall(uint16_t index, VhostFd call) {
  GuestRing& ring = rings_.at(index);
  const Within gate(ring.gate);
  ring.setup.call = std::move(call);
  ring.Call();  // for what was done while nobody could be called
}

bool VhostNicImpl::SetMtu(uint16_t mtu) { return mtu <= options_.mtu; }

void VhostNicImpl::OnDisconnected(const absl::Status& why) {
  rings_.SetFeatures(0);
  if (!why.ok()) parting_ = std::string(why.message());
}

// On behalf of a guest that has moved here and does not announce itself: a broadcast from its address, as a guest would send
// it (RFC 903, 3: a reverse request for oneself).
void VhostNicImpl::SendRarp(const MacAddress& guest) {
  constexpr uint32_t kFrame = 60;
  constexpr std::array<uint8_t, 10> kRequest = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
  Burst fresh;
  if (queues_.pool->Get(fresh, 1) == 0) return;
  PacketPtr packet = fresh.PopFront();
  uint8_t* const frame = packet->data();
  std::fill_n(frame, kFrame, uint8_t{0});
  std::fill_n(frame, sizeof(MacAddress), uint8_t{0xff});
  for (const size_t at : {size_t{6}, size_t{22}, size_t{32}})
    std::copy_n(guest.bytes().data(), sizeof(MacAddress), frame + at);
  std::copy(kRequest.begin(), kRequest.end(), frame + 12);
  packet->SetLength(kFrame);
  packet->Arrive(queues_.port, rx_[0].id());
  (void)rx_[0].Announce(std::move(packet));
  rx_[0].Ring();
}

}  // namespace sluice
