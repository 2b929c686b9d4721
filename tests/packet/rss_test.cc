// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/rss.h"

#include <catch2/catch.hpp>
#include <set>

#include "tests/packet/bitwise_toeplitz.h"
#include "tests/packet/parsed_packet.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // the frame builder's words

RssResult Hash(const Bytes& frame, const RssConfig& config = RssConfig::Spread(4)) {
  ParsedPacket packet(frame);
  return RssHash(config, *packet);
}

RssConfig ConfigOf(const RssOptions& options) { return RssConfig::Create(options).value(); }

RssOptions Options() { return {.table = {QueueId(0), QueueId(1)}}; }

// "Verifying the RSS Hash Calculation", Windows driver documentation.
struct Published {
  const char* destination;
  uint16_t destination_port;
  const char* source;
  uint16_t source_port;
  uint32_t addresses;
  uint32_t with_ports;
};
constexpr Published kPublished[] = {
    {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef},
};

TEST_CASE("Microsoft's published hashes come out, for IPv4 and IPv6, with and without ports") {
  RssOptions addresses_only = Options();
  addresses_only.types = {RssType::kIpv4, RssType::kIpv6};
  for (const Published& p : kPublished) {
    INFO(p.source);
    const FrameSpec spec{.source = p.source,
                         .destination = p.destination,
                         .source_port = p.source_port,
                         .destination_port = p.destination_port};
    CHECK(Hash(TcpFrame(spec)).hash == p.with_ports);
    CHECK(Hash(UdpFrame(spec)).hash == p.with_ports);
    CHECK(Hash(TcpFrame(spec), ConfigOf(addresses_only)).hash == p.addresses);
    CHECK(Hash(IcmpFrame(spec)).hash == p.addresses);
  }
}

TEST_CASE("the hash equals its bitwise definition on random keys and inputs") {
  Random random(PrintedSeed());
  for (int round = 0; round < 500; ++round) {
    Bytes input(Below(random, 130));
    Bytes key(input.size() + 4 + Below(random, 5));
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : key) byte = static_cast<uint8_t>(random());
    if (ToeplitzHash(key, input) != BitwiseToeplitz(key, input)) FAIL("input of " << input.size());
  }
}

TEST_CASE("what is hashed depends on the packet and on the types that are enabled") {
  const FrameSpec v6{.source = "::1", .destination = "::2"};
  CHECK(Hash(TcpFrame({})).type == RssType::kIpv4Tcp);
  CHECK(Hash(UdpFrame(v6)).type == RssType::kIpv6Udp);
  CHECK(Hash(IcmpFrame({})).type == RssType::kIpv4);
  CHECK(Hash(IpFrame(v6, IpProtocol::kSctp)).type == RssType::kIpv6);
  CHECK(Hash(ArpFrame({})).type == RssType::kNone);
  CHECK(Hash(ArpFrame({})).hash == 0);

  RssOptions tcp_only = Options();
  tcp_only.types = {RssType::kIpv4Tcp, RssType::kIpv4};
  CHECK(Hash(TcpFrame({}), ConfigOf(tcp_only)).type == RssType::kIpv4Tcp);
  CHECK(Hash(UdpFrame({}), ConfigOf(tcp_only)).type == RssType::kIpv4);
  CHECK(Hash(TcpFrame(v6), ConfigOf(tcp_only)).type == RssType::kNone);
}

TEST_CASE("all fragments of a datagram hash alike, by their addresses") {
  const RssResult first = Hash(UdpFrame({.flags_offset = Ipv4Header::kMoreFragments}));
  const RssResult later = Hash(UdpFrame({.flags_offset = 185, .payload = "something else"}));
  CHECK(first.type == RssType::kIpv4);
  CHECK(first.hash == later.hash);
  CHECK(first.hash == Hash(IcmpFrame({})).hash);
}

TEST_CASE("with the symmetric key both directions of a flow hash alike") {
  RssOptions options = Options();
  options.key.assign(kSymmetricRssKey.begin(), kSymmetricRssKey.end());
  const RssConfig config = ConfigOf(options);
  for (const Published& p : kPublished) {
    const FrameSpec there{.source = p.source,
                          .destination = p.destination,
                          .source_port = p.source_port,
                          .destination_port = p.destination_port};
    const FrameSpec back{.source = p.destination,
                         .destination = p.source,
                         .source_port = p.destination_port,
                         .destination_port = p.source_port};
    CHECK(Hash(TcpFrame(there), config).hash == Hash(TcpFrame(back), config).hash);
    CHECK(Hash(TcpFrame(there)).hash != Hash(TcpFrame(back)).hash);
  }
}

TEST_CASE("the default table deals all buckets over the queues, whatever their number") {
  for (const uint16_t queues : std::vector<uint16_t>{1, 2, 3, 7, 128, 129, 4096}) {
    const RssConfig config = RssConfig::Spread(queues);
    std::set<QueueId> used;
    for (uint32_t hash = 0; hash < 4096; ++hash) used.insert(config.QueueFor(hash));
    CHECK(used.size() == queues);
    CHECK(*used.rbegin() == QueueId(static_cast<uint16_t>(queues - 1)));
  }
  CHECK(RssConfig::Spread(3).table().size() == 128);
}

TEST_CASE(
    "another table is another configuration with the next generation, and the old one stays as it was") {
  const RssConfig before = RssConfig::Spread(4);
  const RssConfig after = before.WithTable({QueueId(9), QueueId(8)}).value();
  CHECK(after.generation() == before.generation() + 1);
  CHECK(after.QueueFor(0xffff0001) == QueueId(8));
  CHECK(after.key() == before.key());
  CHECK(before.QueueFor(1) == QueueId(1));
}

TEST_CASE("keys and tables of the wrong size are refused") {
  const auto refused = [](size_t key, size_t table) {
    const RssOptions options{.key = Bytes(key), .table = std::vector<QueueId>(table)};
    return RssConfig::Create(options).status().code() == absl::StatusCode::kInvalidArgument;
  };
  CHECK_FALSE(refused(kRssKeySize, 1));
  CHECK_FALSE(refused(kLongRssKeySize, RssConfig::kMaxTable));
  CHECK(refused(39, 128));
  CHECK(refused(41, 128));
  CHECK(refused(0, 128));
  CHECK(refused(kRssKeySize, 0));
  CHECK(refused(kRssKeySize, 100));
  CHECK(refused(kRssKeySize, 2 * RssConfig::kMaxTable));
  CHECK_FALSE(RssConfig::Spread(2).WithTable({}).ok());
}

}  // namespace
}  // namespace sluice
