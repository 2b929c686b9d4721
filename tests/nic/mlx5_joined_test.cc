// SPDX-License-Identifier: Apache-2.0
// What is mended in the headers of a frame that an mlx5 card joined, on frames written here byte by byte.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "nic/verbs/mlx5_joined_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"
#include "tests/support/frames.h"
#include "tests/support/random_frames.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint8_t kTcpWithData = 4 << 4, kTcpWithoutAck = 1 << 4;  // l4_hdr_type

// Three segments of four bytes from 10.0.0.1 to 10.0.0.2, as the first came: RFC 791, 3.1 and RFC 9293, 3.1.
Bytes Ipv4Frame() {
  return {2,    0,    0,    0,    0,    2,    2,    0,    0,  0,  0,  1, 0x08, 0x00,  //
          0x45, 0x00, 0x00, 0x2c, 0x12, 0x34, 0x40, 0x00,                 // 44 bytes, id 0x1234, DF
          0x40, 0x06, 0xff, 0xff, 10,   0,    0,    1,    10, 0,  0,  2,  // TTL 64, TCP
          0x03, 0xe8, 0x07, 0xd0, 0x00, 0x00, 0x00, 0x01,                 // ports 1000 and 2000, sequence 1
          0x00, 0x00, 0x00, 0x05, 0x50, 0x10, 0x01, 0x00,  // acknowledged 5, 20 bytes, ACK, window 256
          0xff, 0xff, 0x00, 0x00,                          //
          1,    2,    3,    4,    5,    6,    7,    8,    9,  10, 11, 12};
}

Mlx5Completion Said(uint8_t segments) {
  Mlx5Completion said{};
  said.lro_segments = segments;
  said.lro_least_ttl = 0x3f;
  said.lro_flags = 0x40;
  said.lro_acknowledged = uint32_t{0x01020304};
  said.lro_window = uint16_t{0x0506};
  said.headers = kTcpWithData;
  said.checksum = uint16_t{0x242a};  // 0102 + 0304 + 0506 + 0708 + 090a + 0b0c
  return said;
}

Bytes Part(const Bytes& frame, size_t at, size_t bytes) {
  const auto from = frame.begin() + static_cast<std::ptrdiff_t>(at);
  return {from, from + static_cast<std::ptrdiff_t>(bytes)};
}

TEST_CASE("a joined frame over IPv4 is mended to what a sender would have written") {
  Bytes frame = Ipv4Frame();
  const auto joined = MendJoined(Said(3), absl::MakeSpan(frame));
  REQUIRE(joined.has_value());
  CHECK(joined->segments == 3);
  CHECK(joined->size == 4);
  CHECK(joined->ids == FixedIds{});
  Bytes right = Ipv4Frame();
  right[17] = 52;    // the whole of it
  right[22] = 0x3f;  // the least
  // 4500 + 0034 + 1234 + 4000 + 3f06 + 0a00 + 0001 + 0a00 + 0002 = 0xea71
  right[24] = 0x15, right[25] = 0x8e;
  right[42] = 1, right[43] = 2, right[44] = 3, right[45] = 4;
  right[47] = 0x18;  // ACK and PSH
  right[48] = 5, right[49] = 6;
  // pseudo-header: 0a00 + 0001 + 0a00 + 0002 + 0006 + 0020 = 0x1429; header: 03e8 + 07d0 + 0000 + 0001 + 0102 + 0304 +
  // 5018 + 0506 = 0x64dd; payload 0x242a: 0x9d30
  right[50] = 0x62, right[51] = 0xcf;
  CHECK(frame == right);
}

TEST_CASE("a joined frame without an acknowledgment keeps what it has of one") {
  Bytes frame = Ipv4Frame();
  Mlx5Completion said = Said(3);
  said.headers = kTcpWithoutAck;
  said.lro_flags = 0;
  said.lro_least_ttl = 0xff;  // which none of them had
  REQUIRE(MendJoined(said, absl::MakeSpan(frame)).has_value());
  CHECK(Part(frame, 42, 8) == Part(Ipv4Frame(), 42, 8));
  CHECK(frame[22] == 0x40);
}

TEST_CASE("a joined frame over IPv6 is mended behind tags too") {
  const Bytes ethernet = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
  const Bytes tag =
      GENERATE(Bytes{}, Bytes{0x81, 0x00, 0x00, 0x64}, Bytes{0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x65});
  const Bytes ip = {0x86, 0xdd, 0x60, 0,    0, 0, 0x00, 0x18, 0x06, 0x40,  // 24 bytes, TCP, hop limit 64
                    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0,    0,    0,    0,    0, 0, 0, 0, 0, 1,  //
                    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0,    0,    0,    0,    0, 0, 0, 0, 0, 2};
  Bytes frame = ethernet;
  frame.insert(frame.end(), tag.begin(), tag.end());
  frame.insert(frame.end(), ip.begin(), ip.end());
  const size_t at = frame.size();
  const Bytes tcp = Part(Ipv4Frame(), 34, 32);
  frame.insert(frame.end(), tcp.begin(), tcp.end());
  const auto joined = MendJoined(Said(3), absl::MakeSpan(frame));
  REQUIRE(joined.has_value());
  CHECK(joined->size == 4);
  CHECK(Part(frame, at - 36, 4) == Bytes{0x00, 0x20, 0x06, 0x3f});
  // pseudo-header: 2 * (2001 + 0db8) + 0001 + 0002 + 0020 + 0006 = 0x5b9b; header 0x64dd, payload 0x242a: 0xe4a2
  CHECK(Part(frame, at + 16, 2) == Bytes{0x1b, 0x5d});
}

TEST_CASE("the size of segments is that of the first where the others can have had it") {
  const auto size_of = [](uint16_t first, size_t payload, uint8_t segments) {
    Bytes frame = Ipv4Frame();
    frame.resize(54 + payload);
    frame[16] = static_cast<uint8_t>((40 + first) >> 8);
    frame[17] = static_cast<uint8_t>(40 + first);
    const auto joined = MendJoined(Said(segments), absl::MakeSpan(frame));
    REQUIRE(joined.has_value());
    CHECK(joined->segments == segments);
    return joined->size;
  };
  CHECK(size_of(1000, 3000, 3) == 1000);
  CHECK(size_of(1000, 2001, 3) == 1000);
  CHECK(size_of(1000, 2000, 3) == 667);  // then there were two
  CHECK(size_of(1000, 3001, 3) == 1001);
  CHECK(size_of(0, 3000, 3) == 1000);
  CHECK(size_of(0xffff - 40, 3000, 3) == 1000);
  CHECK(size_of(1, 255, 255) == 1);
}

TEST_CASE("ids are taken for the same only where that means nothing and they are zero") {
  Bytes frame = Ipv4Frame();
  const bool fixed = GENERATE(false, true), free = GENERATE(false, true);
  if (fixed) frame[18] = frame[19] = 0;
  if (free) frame[20] = 0;  // fragments are allowed
  CHECK(MendJoined(Said(3), absl::MakeSpan(frame))->ids.outer == (fixed && !free));
}

TEST_CASE("a frame that cannot be joined TCP is refused whatever it holds") {
  Bytes frame = Ipv4Frame();
  uint8_t segments = 3;
  SECTION("nothing") { frame.clear(); }
  SECTION("cut short") { frame.resize(GENERATE(1u, 13u, 14u, 20u, 40u, 53u)); }
  SECTION("less payload than segments") { segments = 13; }
  SECTION("another protocol") { frame[23] = GENERATE(uint8_t{1}, uint8_t{17}, uint8_t{47}, uint8_t{50}); }
  SECTION("another Ethertype") { frame[12] = GENERATE(uint8_t{0x00}, uint8_t{0x86}, uint8_t{0x88}); }
  SECTION("an IP header too short or too long") {
    frame[14] = GENERATE(uint8_t{0x44}, uint8_t{0x4f}, uint8_t{0x65});
  }
  SECTION("a part of a datagram") { frame[20] = GENERATE(uint8_t{0x20}, uint8_t{0x01}); }
  SECTION("a TCP header too short or too long") { frame[46] = GENERATE(uint8_t{0x40}, uint8_t{0xf0}); }
  SECTION("tags without an end") {
    for (size_t at = 12; at + 4 < frame.size(); at += 4) frame[at] = 0x81, frame[at + 1] = 0;
  }
  CHECK_FALSE(MendJoined(Said(segments), absl::MakeSpan(frame)).has_value());
}

TEST_CASE("headers longer than a card looks through are refused") {
  const uint8_t units = GENERATE(uint8_t{21}, uint8_t{22});  // of 8 bytes, beside the first (RFC 8200, 4.6)
  Bytes frame = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 60, 64};
  frame.resize(14 + 40);
  frame.insert(frame.end(), {6, units, 1, 4});
  frame.resize(14 + 40 + 8 * (units + size_t{1}));
  const Bytes tcp = Part(Ipv4Frame(), 34, 32);
  frame.insert(frame.end(), tcp.begin(), tcp.end());
  CHECK(MendJoined(Said(3), absl::MakeSpan(frame)).has_value() == (units == 21));  // 250 and 258 bytes
}

// What can be said of any frame that was not refused. `told` is the sum that the card told of the payload, if it is right.
std::string WrongIn(PacketPool& pool, const Bytes& frame, const Mlx5Joined& joined, bool told) {
  const PacketPtr packet = MakePacket(pool, frame);
  if (Parse(*packet) != ParseVerdict::kOk) return "it does not parse";
  const LayerOffsets& at = packet->layers().outer;
  if (at.l4_type != L4Type::kTcp) return "it is no TCP";
  if (VerifyIpv4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kBad) return "IPv4 checksum";
  if (told && VerifyL4Checksum(*packet, LayerSet::kOuter) != ChecksumVerdict::kGood) return "TCP checksum";
  const auto payload = static_cast<uint32_t>(frame.size()) - at.payload;
  if (joined.size == 0 || SegmentCount(payload, joined.size) > joined.segments) return "size of segments";
  return "";
}

TEST_CASE("whatever a card says of a frame that it joined it is refused or right") {
  Random random(PrintedSeed());
  const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    Bytes frame = RandomFrame(random, {.most_payload = 3000});
    for (uint64_t n = Below(random, 3); n > 0; --n) {
      frame[Below(random, std::min<size_t>(frame.size(), 80))] = static_cast<uint8_t>(random());
    }
    frame.resize(frame.size() - Below(random, 2) * Below(random, frame.size()));
    Mlx5Completion said{};
    said.lro_segments = static_cast<uint8_t>(2 + Below(random, 254));
    said.lro_least_ttl = static_cast<uint8_t>(random());
    said.lro_flags = static_cast<uint8_t>(random());
    said.lro_acknowledged = static_cast<uint32_t>(random());
    said.lro_window = static_cast<uint16_t>(random());
    said.headers = static_cast<uint8_t>(random());
    Layers layers;
    const bool told = Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk;
    if (told) {
      const size_t end = layers.outer.payload;
      said.checksum = static_cast<uint16_t>(~SimpleChecksum(absl::MakeConstSpan(frame).subspan(end)));
    }
    const auto joined = MendJoined(said, absl::MakeSpan(frame));
    if (!joined.has_value()) continue;
    ++accepted;
    const std::string wrong = WrongIn(*pool, frame, *joined, told);
    if (!wrong.empty()) FAIL(wrong);
  }
  CHECK(accepted > 1000);
}

}  // namespace
}  // namespace sluice::testing
