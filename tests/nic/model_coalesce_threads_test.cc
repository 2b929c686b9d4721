// SPDX-License-Identifier: Apache-2.0
// Receive coalescing with a poller for each queue, asleep when idle, and a sender for each lane.
#include <poll.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "tests/nic/model_pair.h"
#include "tests/support/frame_train.h"
#include "tests/support/simple_coalescer.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kQueues = 3;
constexpr uint16_t kLanes = 2;
constexpr uint16_t kFlows = 4;   // of each lane
constexpr size_t kFrames = 300;  // of each flow
constexpr size_t kSize = 16;     // of a payload
constexpr size_t kAll = kLanes * kFlows * kFrames;

size_t FlowOf(const Bytes& frame) { return HeaderAt<TcpHeader>(frame.data(), 34)->source_port.get(); }

// Two Nics, and what each flow sends and gets there.
class Arena {
 public:
  Arena()
      : pair_({.b = {.coalesce = CoalesceOptions{}, .lossless = true},
               .a_queues = {.tx_queues = kLanes, .tx_ring = 64},
               .b_queues = {.rx_queues = kQueues, .rx_ring = 128},
               .pool = {.packets = 4096, .huge_pages = HugePages::kOff}}) {
    for (uint16_t flow = 0; flow < kLanes * kFlows; ++flow)
      sent.push_back(FrameTrain(TcpFrame, {.source_port = flow}, kFrames, kSize));
  }

  // The flows of the lane in turn, a few frames at a time.
  void SendLane(uint16_t lane) {
    TxQueue& tx = pair_.a().tx(QueueId{lane});
    for (size_t from = 0; from < kFrames; from += kRun) {
      for (size_t flow = lane * kFlows; flow < (lane + 1u) * kFlows; ++flow) {
        Burst burst;
        for (size_t i = from; i < from + kRun; ++i) burst.Push(Packet(sent[flow][i]));
        while (!burst.empty()) {
          if (tx.Send(burst) == 0) std::this_thread::yield();
        }
      }
    }
  }

  // Until all is there. False when a sleep is not ended by what is waiting.
  bool Poll(uint16_t queue) {
    RxQueue& rx = pair_.b().rx(QueueId{queue});
    while (received_.load(std::memory_order_acquire) < kAll) {
      Burst burst;
      if (rx.Receive(burst) > 0)
        Take(burst);
      else if (rx.Arm() && !Nap(rx))
        return false;
    }
    return true;
  }

  uint64_t packets() {
    uint64_t packets = 0;
    for (uint16_t queue = 0; queue < kQueues; ++queue)
      packets += pair_.b().rx(QueueId{queue}).stats().packets;
    return packets;
  }

  std::vector<std::vector<Bytes>> sent;
  std::vector<std::vector<Bytes>> received{kLanes * kFlows};  // each by the poller of its queue

 private:
  static constexpr size_t kRun = 10;

  PacketPtr Packet(const Bytes& frame) {
    PacketPtr packet;
    while ((packet = MakePacket(pair_.pool(), frame)) == nullptr) std::this_thread::yield();
    return packet;
  }

  void Take(const Burst& burst) {
    size_t frames = 0;
    for (const auto* packet : burst) {
      const Coalesced one = {BytesOf(*packet), packet->coalesced_segments(), packet->coalesced_size(),
                             packet->coalesced_ids()};
      for (Bytes& frame : one.Undone()) received[FlowOf(frame)].push_back(std::move(frame)), ++frames;
    }
    received_.fetch_add(frames, std::memory_order_release);
  }

  // The end of the traffic wakes nobody: a short sleep ends it. Only a long one with work waiting is a fault.
  bool Nap(const RxQueue& rx) {
    pollfd entry = {.fd = rx.fd(), .events = POLLIN, .revents = 0};
    for (int nap = 0; poll(&entry, 1, 20) == 0 && received_.load() < kAll; ++nap) {
      if (nap == 250) return false;
    }
    return true;
  }

  ModelPair pair_;
  std::atomic<size_t> received_{0};
};

TEST_CASE("pollers that join and sleep get every frame of every flow in order, and miss nothing") {
  Arena arena;
  std::atomic<bool> slept_through = false;
  std::vector<std::thread> threads;
  for (uint16_t lane = 0; lane < kLanes; ++lane) threads.emplace_back([&, lane] { arena.SendLane(lane); });
  for (uint16_t queue = 0; queue < kQueues; ++queue) {
    threads.emplace_back([&, queue] {
      if (!arena.Poll(queue)) slept_through.store(true);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(slept_through.load());
  CHECK((arena.received == arena.sent));
  CHECK(arena.packets() < kAll);
}

}  // namespace
}  // namespace sluice::testing
