// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_NIC_BENCH_H_
#define SLUICE_TESTS_SUPPORT_NIC_BENCH_H_

// A work bench for two Nics back to back, with a pool each, on which tests speak of numbered frames. See
// conformance.h for Rig and Subject.

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/nic/conformance.h"

namespace sluice::testing {

using Numbers = std::vector<uint32_t>;

// `count` numbers from `first`.
Numbers Consecutive(uint32_t first, size_t count);

// Fills an empty packet with frame `number` of `length` bytes, at least kNumberedLength, for a Nic of address `to`.
void NumberFrame(Packet& packet, uint32_t number, uint32_t length, MacAddress to);
inline constexpr uint32_t kNumberedLength = 60;
// The number of a frame that was made so; nothing for other people's frames. Fails the test on a damaged one.
bool IsNumbered(const Packet& packet, uint32_t& number);

class NicBench {
 public:
  // Opens the rig. Both pools are full.
  explicit NicBench(const Subject& subject);
  // Stops both; every packet must be home again.
  ~NicBench();

  Nic& a() { return *rig_.a; }
  Nic& b() { return *rig_.b; }
  bool has_peer() const { return rig_.b != nullptr; }
  PacketPool& pool_a() { return *pool_a_; }
  PacketPool& pool_b() { return *pool_b_; }
  Rig& rig() { return rig_; }

  // Options that suit the subject.
  QueueOptions OptionsA() const;
  QueueOptions OptionsB() const;
  // Starts both with them, and waits for the link.
  void Start() { Start(OptionsA(), OptionsB()); }
  void Start(const QueueOptions& a, const QueueOptions& b);
  void Stop();

  // Numbered frames from a's pool, for b.
  Burst Frames(uint32_t first, size_t count, uint32_t length = kNumberedLength);
  // Sends frames [first, first + count) from a, again and again until all are taken, receiving at b on the way
  // whenever nothing is; adds to Received().
  void SendAll(uint32_t first, size_t count, uint32_t length = kNumberedLength);
  // Receives at b until `count` numbered frames have come since the last call, or none comes for long. In the order of
  // arrival, queue by queue.
  Numbers Collect(size_t count);
  // One poll of all of b's queues.
  void PollB();

  // Events of a since the last call, those that came during Until among them.
  std::vector<NicEvent> TakeEvents();

  // Calls `done` again and again until it says so or patience ends; returns the last answer.
  bool Until(const std::function<bool()>& done);

 private:
  void CheckAllHome();
  void Serve();

  const Subject subject_;
  std::unique_ptr<PacketPool> pool_a_;
  std::unique_ptr<PacketPool> pool_b_;
  Rig rig_;
  Numbers received_;
  std::vector<NicEvent> events_;
};

// The other way round: frames from b to a.
Numbers SendFromPeer(NicBench& bench, uint32_t first, size_t count);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_NIC_BENCH_H_
