// SPDX-License-Identifier: Apache-2.0
// Headers of 32 hot frames. Ours also makes the flow key of each, checks every length and looks for tunnels,
// which the peer does not.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/dpdk/parse.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/paired.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse_burst.h"
#include "tests/support/frames.h"

namespace sluice::bench {
namespace {

using testing::Bytes;
using testing::FrameSpec;

constexpr uint16_t kVxlanOverhead = 50;  // Ethernet, IPv4, UDP, VXLAN

struct Parsing {
  std::unique_ptr<PacketPool> pool;
  Burst burst;
  ParsedBurst parsed;
};

std::vector<Bytes> Frames(const std::vector<Bytes>& kinds) {
  std::vector<Bytes> frames;
  for (size_t i = 0; i < dpdk::kBurst; ++i) frames.push_back(kinds[i * 7 / 3 % kinds.size()]);
  return frames;
}

// A hot burst lies in the first cache. Our buffers are 2 KiB apart, which are 32 sets of it: heads at the same
// place of each would share two sets, which is the pool's cost and no parser's. The peer's are apart anyway.
PacketPtr Spread(PacketPool& pool, const Bytes& frame, size_t i) {
  constexpr size_t kLine = 64;
  constexpr size_t kPlaces = 16;
  PacketPtr packet = pool.GetOne();
  packet->SetHeadroom(packet->headroom() + i % kPlaces * kLine);
  packet->SetLength(static_cast<uint32_t>(frame.size()));
  std::copy(frame.begin(), frame.end(), packet->data());
  return packet;
}

absl::StatusOr<Sampler> ParseFrames(const std::vector<Bytes>& frames) {
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({.packets = 1024});
  if (!pool.ok()) return pool.status();
  const auto parsing = std::make_shared<Parsing>();
  parsing->pool = *std::move(pool);
  for (size_t i = 0; i < frames.size(); ++i) parsing->burst.Push(Spread(*parsing->pool, frames[i], i));
  return NanosecondsPer([parsing](size_t n) {
    for (size_t done = 0; done < n; done += dpdk::kBurst) {
      ParseBurst(parsing->burst, LayerSet::kInnermost, parsing->parsed);
      MustBeInMemory(&parsing->parsed);
    }
  });
}

absl::StatusOr<Pair> Both(const std::vector<Bytes>& kinds, uint16_t inner = 0) {
  const std::vector<Bytes> frames = Frames(kinds);
  return MakePair(ParseFrames(frames), dpdk::PacketTypes(frames, inner));
}

Bytes Tcp6() { return testing::TcpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"}); }

const Registration tcp4({.work = "packet/parse/tcp4",
                         .peer = "rte_net_get_ptype",
                         .peer_mode = "all layers, no flow key",
                         .goal = 3,
                         .open = [] { return Both({testing::TcpFrame({})}); }});

const Registration vxlan_tcp4({.work = "packet/parse/vxlan_tcp4",
                               .peer = "rte_net_get_ptype",
                               .peer_mode = "all layers, outer and inner, no flow key",
                               .goal = 3.5,
                               .open = [] {
                                 return Both({testing::VxlanFrame({}, testing::TcpFrame({}))},
                                             kVxlanOverhead);
                               }});

// For information, without a goal. Of the mixed burst no two neighbours are alike: each is parsed by itself.
const Registration tcp6({.work = "packet/parse/tcp6",
                         .peer = "rte_net_get_ptype",
                         .peer_mode = "all layers, no flow key",
                         .goal = 0,
                         .open = [] { return Both({Tcp6()}); }});

const Registration mixed(
    {.work = "packet/parse/mixed",
     .peer = "rte_net_get_ptype",
     .peer_mode = "all layers, no flow key",
     .goal = 0,
     .open = [] {
       return Both({testing::TcpFrame({}), testing::UdpFrame({}), Tcp6(), testing::TcpFrame({.vlans = {1}})});
     }});

}  // namespace
}  // namespace sluice::bench
