// SPDX-License-Identifier: Apache-2.0
// Toeplitz hashes of 32 at a time: of tuples that are ready, and of the packets of a burst.

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "benchmarks/dpdk/peers.h"
#include "benchmarks/dpdk/rss.h"
#include "benchmarks/paired.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/rss.h"

namespace sluice::bench {
namespace {

using dpdk::kBurst;

// Half of whose bits are set, as the cost of the peer depends on their number.
void FillRandomly(uint8_t* bytes, size_t n) {
  static std::mt19937 random(1);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(random());
}

using PeerOf = absl::StatusOr<Sampler> (*)(absl::Span<const uint8_t> tuples, size_t size);

template <typename Tuple>
absl::StatusOr<Pair> Tuples(PeerOf open_peer) {
  std::vector<Tuple> tuples(kBurst);
  auto* bytes = reinterpret_cast<uint8_t*>(tuples.data());
  FillRandomly(bytes, kBurst * sizeof(Tuple));
  absl::StatusOr<Sampler> peer = open_peer(absl::MakeConstSpan(bytes, kBurst * sizeof(Tuple)), sizeof(Tuple));
  std::vector<uint32_t> hashes(kBurst);
  return MakePair(NanosecondsPer([=, key = ToeplitzKey(kMicrosoftRssKey)](size_t n) mutable {
                    for (size_t done = 0; done < n; done += kBurst) {
                      key.HashAll(tuples, absl::MakeSpan(hashes));
                      MustBeInMemory(hashes.data());
                    }
                  }),
                  std::move(peer));
}

// A parsed TCP/IPv4 frame between random addresses and ports.
void MakeFrame(Packet& packet) {
  constexpr uint16_t kIpLength = sizeof(Ipv4Header) + sizeof(TcpHeader);
  packet.SetLength(uint32_t{sizeof(EthernetHeader)} + kIpLength);
  std::memset(packet.data(), 0, packet.length());
  HeaderAt<EthernetHeader>(packet.data(), 0)->type = Ethertype::kIpv4;
  auto* ip = HeaderAt<Ipv4Header>(packet.data(), sizeof(EthernetHeader));
  ip->version_ihl = 0x45;
  ip->total_length = kIpLength;
  ip->protocol = IpProtocol::kTcp;
  auto* tcp = reinterpret_cast<TcpHeader*>(ip + 1);
  FillRandomly(reinterpret_cast<uint8_t*>(&ip->source), 2 * sizeof(Ipv4Address) + 2 * sizeof(Be16));
  tcp->data_offset = 0x50;
  Parse(packet);
}

struct ParsedBurst {
  std::unique_ptr<PacketPool> pool;
  Burst burst;
};

absl::StatusOr<Pair> Packets() {
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({});
  if (!pool.ok()) return pool.status();
  auto parsed = std::make_shared<ParsedBurst>();
  parsed->pool = *std::move(pool);
  parsed->pool->Get(parsed->burst, kBurst);
  std::vector<const uint8_t*> frames;
  for (Packet* packet : parsed->burst) {
    MakeFrame(*packet);
    frames.push_back(packet->data());
  }
  return MakePair(NanosecondsPer([parsed, config = RssConfig::Spread(16)](size_t n) {
                    for (size_t done = 0; done < n; done += kBurst) {
                      RssHashBurst(config, parsed->burst);
                      MustBeInMemory(&parsed->burst);
                    }
                  }),
                  dpdk::SoftRssOfFrames(std::move(frames)));
}

const Registration tuple12({.work = "packet/rss/tuple12",
                            .unit = "ns/tuple",
                            .peer = "rte_softrss_be",
                            .peer_mode = "one by one",
                            .goal = 25,
                            .open = [] { return Tuples<RssTuple4>(dpdk::SoftRss); }});
const Registration tuple36({.work = "packet/rss/tuple36",
                            .unit = "ns/tuple",
                            .peer = "rte_softrss_be",
                            .peer_mode = "one by one",
                            .goal = 30,
                            .open = [] { return Tuples<RssTuple6>(dpdk::SoftRss); }});

// The best that DPDK has, experimental in 22.11.
const Registration gfni12({.work = "packet/rss/tuple12_gfni",
                           .unit = "ns/tuple",
                           .peer = "rte_thash_gfni_bulk",
                           .goal = 1,
                           .open = [] { return Tuples<RssTuple4>(dpdk::GfniHash); }});
const Registration gfni36({.work = "packet/rss/tuple36_gfni",
                           .unit = "ns/tuple",
                           .peer = "rte_thash_gfni_bulk",
                           .goal = 1,
                           .open = [] { return Tuples<RssTuple6>(dpdk::GfniHash); }});

// The peer is spared to find out that the frames are TCP over IPv4; ours are parsed, and may be anything.
const Registration packets({.work = "packet/rss/burst_tcp4",
                            .peer = "rte_softrss_be",
                            .peer_mode = "one by one",
                            .goal = 10,
                            .open = Packets});

}  // namespace
}  // namespace sluice::bench
