// SPDX-License-Identifier: Apache-2.0
// What a pool takes besides the buffers themselves: packets, free lists, bookkeeping.

#include <cmath>
#include <memory>

#include "benchmarks/memory.h"
#include "benchmarks/paired.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::bench {
namespace {

// Memory held for a pool of `packets`, its buffers not counted.
absl::StatusOr<double> Overhead(uint32_t packets) {
  const size_t before = MemoryHeld();
  const absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({.packets = packets});
  if (!pool.ok()) return pool.status();
  return static_cast<double>(MemoryHeld() - before) - static_cast<double>((*pool)->region().size());
}

// By how much it grows with each buffer; whole bytes, since memory is held by the page.
absl::StatusOr<double> MetadataPerBuffer() {
  constexpr uint32_t kPackets = 65536;
  const absl::StatusOr<double> small = Overhead(kPackets);
  const absl::StatusOr<double> large = Overhead(2 * kPackets);
  if (!small.ok()) return small.status();
  if (!large.ok()) return large.status();
  return std::round((*large - *small) / kPackets);
}

const Registration metadata(
    {.work = "memory/metadata_per_buffer", .unit = "B/buffer", .goal = 128, .once = true, .open = [] {
       return Pair{.ours = MetadataPerBuffer};
     }});

}  // namespace
}  // namespace sluice::bench
