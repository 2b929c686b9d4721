// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_RINGS_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_RINGS_INTERNAL_H_

// The rings of a guest, between the control thread, which starts and stops them, and the queues, which poll them.
//
//   control ──Serve, Rest──▶ which are served (a bit a pair) ──▶ queues, which enter the gate of a ring for each burst
//
// A queue looks at the bits, then enters the gate, and finds there whether the ring is still served. So when Rest has
// returned, nobody touches the ring.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "nic/vhost/gate_internal.h"
#include "nic/vhost/guest_sink_internal.h"
#include "nic/vhost/guest_source_internal.h"
#include "nic/vhost/session_internal.h"
#include "sluice/base/counters.h"

namespace sluice {

// Of the numbers of rings: receiveqs are even.
constexpr bool IsTransmitq(uint16_t index) { return index % 2 == 1; }

struct alignas(kCacheLine) GuestRing {
  Gate gate;  // of all below

  bool served = false;
  bool enabled = false;  // by SET_VRING_ENABLE
  std::optional<GuestSource>
      source;  // of a transmitq, as the next of a receiveq: from its first start to Stop of the Nic
  std::optional<GuestSink> sink;
  VhostRingSetup setup;  // of the last start
  bool failed = false;   // its fault was seen

  // For who is in the gate. Wakes the guest's driver, where that wants it.
  void Call() const;
  // Likewise. Of a receiveq: the guest has all that was sent to it.
  void Finish();
  // Whether something impossible was found in it since this was last asked; it then moves nothing more.
  bool HasJustFailed() { return fault() != RingFault::kNone && !std::exchange(failed, true); }
  RingFault fault() const { return source.has_value() ? source->fault() : sink->fault(); }
};

class GuestRings {
 public:
  static constexpr uint16_t kMostPairs = 64;

  explicit GuestRings(uint16_t pairs) : rings_(new GuestRing[2 * size_t{pairs}]), pairs_(pairs) {}

  uint16_t pairs() const { return pairs_; }
  GuestRing& at(uint16_t index) { return rings_[index]; }
  GuestRing& transmitq(int pair) { return rings_[2 * static_cast<size_t>(pair) + 1]; }
  GuestRing& receiveq(int pair) { return rings_[2 * static_cast<size_t>(pair)]; }
  const GuestRing& receiveq(int pair) const { return rings_[2 * static_cast<size_t>(pair)]; }

  // Queues. Pairs whose transmitq is served, and those whose receiveq is, and enabled.
  uint64_t sending() const { return sending_.load(std::memory_order_acquire); }
  uint64_t receiving() const { return receiving_.load(std::memory_order_acquire); }
  uint64_t features() const { return features_.load(std::memory_order_acquire); }  // negotiated

  // Control thread.
  // ----------------------------------------------------------------------------------------------------
  // From now on, as ring.served and ring.enabled say; within no gate.
  void Show(uint16_t index);
  void SetFeatures(uint64_t negotiated) { features_.store(negotiated, std::memory_order_release); }

 private:
  const std::unique_ptr<GuestRing[]> rings_;
  const uint16_t pairs_;
  std::atomic<uint64_t> sending_{0};
  std::atomic<uint64_t> receiving_{0};
  std::atomic<uint64_t> features_{0};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_RINGS_INTERNAL_H_
