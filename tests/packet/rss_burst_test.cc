// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "sluice/packet/rss.h"
#include "tests/packet/bitwise_toeplitz.h"
#include "tests/packet/parsed_packet.h"
#include "tests/packet/small_pool.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // the frame builder's words

constexpr LayerSet kLayerSets[] = {LayerSet::kOuter, LayerSet::kInner, LayerSet::kInnermost};

// Of both families, with and without ports, fragments, what is no IP, and tunnels; `number` varies addresses
// and ports.
Bytes FrameOf(size_t kind, uint16_t number) {
  const FrameSpec four{.source = absl::StrCat("10.0.", number / 256, ".", number % 256),
                       .source_port = number};
  const FrameSpec six{.source = absl::StrCat("2001:db8::", absl::Hex(number)),
                      .destination = "2001:db8::2",
                      .destination_port = number};
  FrameSpec fragment = four, tagged = six;
  fragment.flags_offset = Ipv4Header::kMoreFragments;
  tagged.vlans = {7, 9};
  switch (kind) {
    case 0:
      return TcpFrame(four);
    case 1:
      return UdpFrame(six);
    case 2:
      return IcmpFrame(four);
    case 3:
      return UdpFrame(fragment);
    case 4:
      return ArpFrame({});
    case 5:
      return VxlanFrame(four, TcpFrame(six));
    case 6:
      return GreFrame(six, WithoutEthernet(UdpFrame(four)));
    case 7:
      return IpFrame(tagged, IpProtocol::kSctp);
    case 8:
      return TcpFrame(tagged);
    default:
      return VxlanFrame(six, Cut(TcpFrame(four), 40));  // whose inside is cut short
  }
}
constexpr size_t kKinds = 10;

void FillBurst(Random& random, PacketPool& pool, size_t size, size_t kinds, Burst& burst) {
  for (size_t i = 0; i < size; ++i) {
    PacketPtr packet = MakePacket(pool, FrameOf(Below(random, kinds), static_cast<uint16_t>(random())));
    REQUIRE(packet != nullptr);
    REQUIRE(Parse(*packet) == ParseVerdict::kOk);
    burst.Push(std::move(packet));
  }
}

RssConfig RandomConfig(Random& random) {
  RssOptions options{.key = Bytes(Below(random, 2) == 0 ? kRssKeySize : kLongRssKeySize),
                     .table = {QueueId(0), QueueId(1)}};
  for (uint8_t& byte : options.key) byte = static_cast<uint8_t>(random());
  if (Below(random, 3) == 0) options.types = {RssType::kIpv4, RssType::kIpv6, RssType::kIpv6Udp};
  if (Below(random, 3) == 0) options.types = {RssType::kIpv4Tcp, RssType::kIpv4};
  return RssConfig::Create(options).value();
}

// The twin: by the flow key, a bit at a time.
uint32_t HashByFlow(const RssConfig& config, const Packet& packet, const RssResult& result, bool inner) {
  FlowKey flow;
  if (result.type == RssType::kNone) return 0;
  REQUIRE((inner ? ExtractInnerFlowKey(packet, flow) : ExtractFlowKey(packet, flow)));
  const size_t size = flow.ipv6 ? 16 : 4;
  Bytes input(flow.source.begin(), flow.source.begin() + size);
  input.insert(input.end(), flow.destination.begin(), flow.destination.begin() + size);
  for (const uint16_t port : {flow.source_port, flow.destination_port}) {
    if (result.type == RssType::kIpv4 || result.type == RssType::kIpv6) continue;
    input.push_back(static_cast<uint8_t>(port >> 8));
    input.push_back(static_cast<uint8_t>(port));
  }
  return BitwiseToeplitz(config.key(), input);
}

bool IsInner(const Packet& packet, LayerSet which) {
  return &Select(packet.layers(), which) == &packet.layers().inner;
}

TEST_CASE("a burst of anything hashes as its packets do one by one, and as their flows do bit by bit") {
  Random random(PrintedSeed());
  const auto pool = SmallPool();
  for (size_t size = 0; size <= Burst::kCapacity; ++size) {
    Burst burst;
    FillBurst(random, *pool, size, size % 5 == 0 ? 1 : kKinds, burst);  // some of IPv4 alone
    const RssConfig config = RandomConfig(random);
    const LayerSet which = kLayerSets[size % std::size(kLayerSets)];
    RssHashBurst(config, burst, which);
    for (const Packet* packet : burst) {
      const RssResult one = RssHash(config, *packet, which);
      if (packet->rss_type != one.type || packet->rss_hash != one.hash) FAIL("not as alone, of " << size);
      if (one.hash != HashByFlow(config, *packet, one, IsInner(*packet, which))) FAIL("of " << size);
    }
  }
}

// What the model NIC and hardware do with the hash, so that it can be said beforehand where a packet comes out.
TEST_CASE("the queue of every packet of a burst is the entry of the indirection table that its hash names") {
  Random random(PrintedSeed());
  const auto pool = SmallPool();
  for (const LayerSet which : kLayerSets) {
    std::vector<QueueId> table(size_t{1} << Below(random, 10));
    for (QueueId& queue : table) queue = QueueId(static_cast<uint16_t>(random()));
    const RssConfig config = RandomConfig(random).WithTable(table).value();
    Burst burst;
    FillBurst(random, *pool, Burst::kCapacity, kKinds, burst);
    RssHashBurst(config, burst, which);
    for (const Packet* packet : burst) {
      const RssResult one = RssHash(config, *packet, which);
      const uint32_t hash = HashByFlow(config, *packet, one, IsInner(*packet, which));
      CHECK(config.QueueFor(packet->rss_hash) == table[hash % table.size()]);
    }
  }
}

TEST_CASE("the inner headers decide where they are asked for, and spread flows that share a tunnel") {
  const RssConfig config = RssConfig::Spread(4);
  ParsedPacket tunnel(VxlanFrame({}, TcpFrame({.source_port = 7}))), plain(TcpFrame({.source_port = 7}));
  ParsedPacket other(VxlanFrame({}, TcpFrame({.source_port = 8})));
  const RssResult inside = RssHash(config, *plain);
  CHECK(RssHash(config, *tunnel, LayerSet::kInner).hash == inside.hash);
  CHECK(RssHash(config, *tunnel, LayerSet::kInnermost).hash == inside.hash);
  CHECK(RssHash(config, *plain, LayerSet::kInnermost).hash == inside.hash);
  CHECK(RssHash(config, *plain, LayerSet::kInner).type == RssType::kNone);
  CHECK(RssHash(config, *plain, LayerSet::kInner).hash == 0);
  CHECK(RssHash(config, *tunnel).type == RssType::kIpv4Udp);
  CHECK(RssHash(config, *tunnel).hash == RssHash(config, *other).hash);
  CHECK(RssHash(config, *tunnel, LayerSet::kInner).hash != RssHash(config, *other, LayerSet::kInner).hash);
}

}  // namespace
}  // namespace sluice
