// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_RECEIVER_INTERNAL_H_
#define SLUICE_NIC_MODEL_RECEIVER_INTERNAL_H_

// The receive side of a ModelNic.
//
//   direct, one queue:   wire ──▶ burst                 the poller of the queue has the wire to itself
//   steered, several:    wire ──▶ pump ──▶ ring 0 ──▶ burst of the poller of queue 0
//                                    └───▶ ring 1 ──▶ ...
//
// The pump is a piece of code, not a thread: whoever polls tries to take its lock, moves one burst from the
// wire to the rings, and lets go. Who does not get the lock has a colleague at work, and looks at its own
// ring only.
//
// Either way, what a poller takes is joined there when that is asked for: merger_internal.h.
//
// Sleep: a queue that sleeps has its bit in sleepers_. The pump wakes those for whom it put something on a
//   ring, and as long as anybody sleeps it leaves the wire armed: an arrival then wakes all of them, and one
//   pumps.

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "nic/model/inspector_internal.h"
#include "nic/model/pair_end_internal.h"
#include "nic/model/rx_queue_internal.h"
#include "nic/model/table_history_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/model_nic.h"

namespace sluice {

class ModelReceiver {
 public:
  static constexpr uint16_t kMaxQueues = 64;  // bits of sleepers_

  ModelReceiver(const ModelNicOptions& options, const Capabilities& able, const Clock& clock, Wire& wire);
  ~ModelReceiver();

  // Control thread, nobody polling.
  // -----------------------------------------------------------------------------------------------------
  // The wire is open. Leaves nothing open when it fails.
  absl::Status Open(const QueueOptions& queues, std::unique_ptr<const SteeringTable> table);
  void Close();

  ModelRxQueue& queue(uint16_t i) { return *queues_[i]; }
  TableHistory& tables() const { return *tables_; }  // while open
  PairEnd* pair() const { return pair_; }            // the wire, where it is one

  // Any thread.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  DropCounts drops() const;

  // Pollers.
  // -----------------------------------------------------------------------------------------------------
  // Whether arrivals can be handed over as they are, unless Inspector::Odd.
  bool idle() const { return !looks_ && tables_->idle(); }
  const Inspector& inspector() const { return inspector_; }
  Wire& wire() { return wire_; }
  PortId port() const { return port_; }

  // Looks into `n` packets, frees those that end here, counts them in `drops`, and moves the others to the
  // front. Returns how many they are. Direct.
  size_t InspectAll(Packet** packets, size_t n, DropCounters& drops);

  // Moves a burst to the rings, unless somebody else is at it; whether more may come. Steered.
  bool Pump();

  // Notes that the queue of this bit, and of this ring, goes to sleep; false when it must not.
  bool Sleep(uint64_t bit, const PacketRing& ring);
  // Takes the note back; false when somebody was there first, and rings or has rung.
  bool Rise(uint64_t bit) { return (sleepers_.fetch_and(~bit, std::memory_order_acq_rel) & bit) != 0; }

 private:
  absl::Status OpenQueue(ModelRxQueue& queue, const QueueOptions& queues, bool steered);
  void OpenWay(ModelRxQueue& queue);
  bool TakePump();
  void LetPumpGo();
  bool PumpBurst();
  void ArmForSleepers();
  void InspectBurst(Burst& burst);
  void Distribute();
  void Publish(uint64_t touched);
  void Wake(uint64_t queues);

  Nanoseconds StampTime() const { return stamp_ ? clock_.Now() : 0; }

  Wire& wire_;
  PairEnd* const pair_;  // the wire, where it is one
  const Clock& clock_;
  const Inspector inspector_;
  const bool stamp_;
  const bool looks_;  // every arrival is looked into
  const bool lossless_;
  const std::optional<CoalesceOptions> coalesce_;
  PortId port_;
  std::unique_ptr<TableHistory> tables_;
  std::vector<std::unique_ptr<ModelRxQueue>> queues_;  // all that the card has; some are open
  std::atomic<uint64_t> generation_{0};

  alignas(kCacheLine) std::atomic<bool> pumping_{false};  // the lock of what follows
  Burst arrivals_;  // inspected, and not yet on a ring; between pumps only when lossless, and a ring is full
  DropCounters drops_;  // of arrivals that never had a queue

  alignas(kCacheLine) std::atomic<uint64_t> sleepers_{0};
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_RECEIVER_INTERNAL_H_
