// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_BURST_TWIN_H_
#define SLUICE_TESTS_PACKET_BURST_TWIN_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "packet/simd_internal.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse_burst.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// Parses frames as bursts, with each variant that this processor has, and each alone with the general parser.
class BurstTwin : private Lender {
 public:
  BurstTwin();
  ~BurstTwin();

  // What the two disagree on; empty when they agree. The frames are heads of frames of `length` bytes where
  // that is longer. Each lies before a page that cannot be read.
  std::string Differences(const std::vector<Bytes>& heads, size_t length = 0);

 private:
  void Returned(absl::Span<const uint64_t>) override {}
  PacketPtr Place(const Bytes& head, size_t length, size_t i);
  std::string Check(const std::vector<Bytes>& heads, size_t length, SimdLevel level, LayerSet flows);

  static constexpr size_t kPage = 4096;
  static constexpr size_t kMostHead = kPage;
  std::unique_ptr<PacketPool> pool_;
  uint8_t* pages_;  // each second one unreadable
  std::array<std::array<std::array<ParsedPacketFlow, Burst::kCapacity>, 3>, kSimdLevels> parsed_;
  std::array<std::array<Layers, 3>, kSimdLevels> expected_;  // from one burst to the next
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_BURST_TWIN_H_
