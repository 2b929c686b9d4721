// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/checksum.h"
#include "benchmarks/dpdk/gro.h"
#include "benchmarks/dpdk/gso.h"
#include "benchmarks/dpdk/parse.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/dpdk/rss.h"

namespace sluice::bench::dpdk {
namespace {

absl::Status Absent() { return absl::UnavailableError("the peer is DPDK: install libdpdk-dev"); }

}  // namespace

absl::StatusOr<Sampler> MempoolGetPut() { return Absent(); }
absl::StatusOr<Sampler> MbufAllocFree() { return Absent(); }
absl::StatusOr<Sampler> RingPortIo() { return Absent(); }
absl::StatusOr<Sampler> NullPortIo() { return Absent(); }
absl::StatusOr<Sampler> RawChecksum(absl::Span<const uint8_t>) { return Absent(); }
absl::StatusOr<Sampler> SoftRss(absl::Span<const uint8_t>, size_t) { return Absent(); }
absl::StatusOr<Sampler> GfniHash(absl::Span<const uint8_t>, size_t) { return Absent(); }
absl::StatusOr<Sampler> SoftRssOfFrames(std::vector<const uint8_t*>) { return Absent(); }
absl::StatusOr<Sampler> PacketTypes(absl::Span<const std::vector<uint8_t>>, uint16_t) { return Absent(); }
absl::StatusOr<Sampler> Gro(const CoalesceLoad&) { return Absent(); }
absl::StatusOr<Sampler> GroInBursts(const CoalesceLoad&) { return Absent(); }
absl::StatusOr<Sampler> Gso(const GsoFrame&) { return Absent(); }
absl::StatusOr<std::string> Command(const PortEnd&) { return Absent(); }
absl::StatusOr<std::string> Command(const PortPair&) { return Absent(); }
std::string HugeDir() { return ""; }

}  // namespace sluice::bench::dpdk
