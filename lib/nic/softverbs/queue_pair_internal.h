// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_QUEUE_PAIR_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_QUEUE_PAIR_INTERNAL_H_

// A raw packet queue pair: a state, a send queue and a receive queue; or, in place of both, receive queues that frames are
// spread over (RSS). Those are work queues with a life of their own, and receive whatever the state of the pair is.
//
//   kReset ──▶ kInit ──▶ kReceiving ──▶ kSending        posts to the receive queue count from kInit on,
//     ▲                                    │            arrivals from kReceiving on, sends from kSending on
//     └───────────── kError ◀── (any) ─────┘            kError gives all requests back as flushed
//
// Threads: under the lock of the device.

#include <cstdint>
#include <memory>

#include "nic/softverbs/receive_queue_internal.h"
#include "nic/softverbs/send_queue_internal.h"
#include "nic/softverbs/spread_internal.h"

namespace sluice {

class SoftQueuePair {
 public:
  enum class State : uint8_t { kReset, kInit, kReceiving, kSending, kError };

  SoftQueuePair(uint32_t number, std::unique_ptr<SoftSendQueue> send,
                std::unique_ptr<SoftReceiveQueue> receive)
      : number_(number), send_(std::move(send)), receive_(std::move(receive)) {}

  SoftQueuePair(uint32_t number, std::unique_ptr<SoftSpread> spread)
      : number_(number), spread_(std::move(spread)) {}

  uint32_t number() const { return number_; }
  bool spreads() const { return spread_ != nullptr; }
  // Of one that does not spread, as is the next.
  SoftSendQueue& send() { return *send_; }
  SoftReceiveQueue& receive() { return *receive_; }
  // Where a parsed packet goes.
  SoftReceiveQueue& ReceiverOf(const Packet& packet) {
    return spreads() ? spread_->QueueFor(packet) : *receive_;
  }

  // The same for all packets; null where that depends on them.
  SoftReceiveQueue* only_receiver() const { return spreads() ? spread_->only() : receive_.get(); }

  // Whether multicast that this port sends is kept from it. Not by itself.
  bool blocks_own_multicast() const { return blocks_own_multicast_; }
  void BlockOwnMulticast() { blocks_own_multicast_ = true; }

  State state() const { return state_; }
  // Of a step that the drawing has, or none at all.
  void SetState(State state);

  bool sends() const { return !spreads() && state_ == State::kSending; }
  // Of one in kError: returns its requests as far as completions have room; true when that is all.
  bool Flush() {
    if (spreads()) return true;
    const bool sent = send_->Flush();
    return receive_->Flush() && sent;
  }

 private:
  const uint32_t number_;
  State state_ = State::kReset;
  bool blocks_own_multicast_ = false;
  const std::unique_ptr<SoftSendQueue> send_;
  const std::unique_ptr<SoftReceiveQueue> receive_;
  const std::unique_ptr<SoftSpread> spread_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_QUEUE_PAIR_INTERNAL_H_
