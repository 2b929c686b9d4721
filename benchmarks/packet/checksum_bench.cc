// SPDX-License-Identifier: Apache-2.0
// The Internet checksum of bytes that are hot: an IPv4 header, small frames, a full one, the largest that
// segmentation takes.

#include <array>

#include "benchmarks/dpdk/checksum.h"
#include "benchmarks/paired.h"
#include "sluice/packet/checksum.h"

namespace sluice::bench {
namespace {

constexpr size_t kLargest = 65536;
constexpr size_t kAfterEthernet = sizeof(EthernetHeader);  // where they lie in a cache line

absl::Span<const uint8_t> FrameBytes(size_t n) {
  alignas(kCacheLine) static std::array<uint8_t, kAfterEthernet + kLargest> frame;
  for (size_t i = 0; i < frame.size(); ++i) frame[i] = static_cast<uint8_t>(i * 131 + (i >> 8) * 7);
  return absl::MakeConstSpan(frame.data() + kAfterEthernet, n);
}

absl::StatusOr<Sampler> Ours(absl::Span<const uint8_t> bytes) {
  return NanosecondsPer([bytes](size_t n) mutable {
    for (size_t i = 0; i < n; ++i) {
      MustBeInMemory(&bytes);
      uint16_t sum = Checksum(bytes);
      MustBeInMemory(&sum);
    }
  });
}

Case Row(const char* work, size_t bytes, double goal) {
  return {
      .work = work,
      .unit = "ns/sum",
      .peer = "rte_raw_cksum",
      .peer_mode = "inline",
      .goal = goal,
      .open = [bytes] { return MakePair(Ours(FrameBytes(bytes)), dpdk::RawChecksum(FrameBytes(bytes))); }};
}

const Registration header(Row("packet/checksum/20", 20, 1.5));
const Registration least(Row("packet/checksum/64", 64, 1));
const Registration small(Row("packet/checksum/128", 128, 1));
const Registration frame(Row("packet/checksum/1500", 1500, 2.5));
const Registration largest(Row("packet/checksum/64k", kLargest, 2.5));

}  // namespace
}  // namespace sluice::bench
