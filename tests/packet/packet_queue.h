// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_PACKET_QUEUE_H_
#define SLUICE_TESTS_PACKET_PACKET_QUEUE_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "sluice/packet/burst.h"

namespace sluice::testing {

// Hands bursts from one thread to another, in order. Holds a few, so that the sender waits for the receiver.
class PacketQueue {
 public:
  void Push(Burst& burst) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return bursts_.size() < kMost; });
    bursts_.push_back(std::move(burst));
    changed_.notify_all();
  }
  Burst Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !bursts_.empty(); });
    Burst burst = std::move(bursts_.front());
    bursts_.pop_front();
    changed_.notify_all();
    return burst;
  }

 private:
  static constexpr size_t kMost = 8;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Burst> bursts_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_PACKET_QUEUE_H_
