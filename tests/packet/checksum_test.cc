// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/checksum.h"

#include <catch2/catch.hpp>

#include "tests/packet/parsed_packet.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // the frame builder's words; SimpleChecksum is the twin

constexpr auto kGood = ChecksumVerdict::kGood;
constexpr auto kBad = ChecksumVerdict::kBad;
constexpr auto kUnknown = ChecksumVerdict::kUnknown;
constexpr auto kOuter = LayerSet::kOuter;
constexpr auto kInner = LayerSet::kInner;

Bytes RandomBytes(Random& random, size_t size) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

const FrameSpec kIpv6 = {.source = "2001:db8::1", .destination = "2001:db8::2"};

std::vector<Bytes> FramesWithChecksums() {
  FrameSpec extended = kIpv6;
  extended.extensions = {{IpProtocol::kDestinationOptions, Bytes(8)}};
  return {TcpFrame({.payload_size = 333}),
          UdpFrame({.payload = "odd"}),
          UdpFrame({.payload = ""}),
          IcmpFrame({}),
          TcpFrame(kIpv6),
          UdpFrame(kIpv6),
          IcmpFrame(kIpv6),
          UdpFrame(extended),
          TcpFrame({.vlans = {9}}),
          UdpFrame({.ip_options = Bytes(8, 1)}),
          Padded(TcpFrame({.payload = "x"}))};
}

ChecksumVerdict L4(const Bytes& frame, LayerSet set = kOuter) {
  ParsedPacket packet(frame);
  REQUIRE(packet.verdict() == ParseVerdict::kOk);
  return VerifyL4Checksum(*packet, set);
}

size_t FieldOffset(L4Type type) { return type == L4Type::kTcp ? 16 : type == L4Type::kUdp ? 6 : 2; }

// RFC 1071, 3.
TEST_CASE("the example of RFC 1071 comes out") {
  const Bytes bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  CHECK(Checksum(bytes) == static_cast<uint16_t>(~0xddf2));
}

TEST_CASE("the checksum of random bytes equals the byte-wise one, however they are cut into pieces") {
  Random random(PrintedSeed());
  for (int round = 0; round < 1'000; ++round) {
    const Bytes bytes = RandomBytes(random, Below(random, 200));
    ChecksumSum sum;
    for (size_t at = 0; at < bytes.size();) {
      const size_t piece = std::min<size_t>(bytes.size() - at, Below(random, 20));
      sum.Add(absl::MakeConstSpan(bytes).subspan(at, piece));
      at += piece;
    }
    if (sum.checksum() != SimpleChecksum(bytes)) FAIL("in pieces, " << bytes.size() << " bytes");
    if (Checksum(bytes) != SimpleChecksum(bytes)) FAIL("at once, " << bytes.size() << " bytes");
  }
}

TEST_CASE("sums of the largest and of all-ones data do not overflow") {
  const Bytes ones(262144, 0xff);
  CHECK(Checksum(ones) == SimpleChecksum(ones));
  CHECK(Checksum({}) == 0xffff);
}

// RFC 1624, 4 has this case, on which the method of RFC 1141 fails.
TEST_CASE("the incremental update of RFC 1624's example comes out") {
  CHECK(UpdateChecksum(0xdd2f, 0x5555, 0x3285) == 0x0000);
}

TEST_CASE("an incremental update equals the checksum of the changed bytes") {
  Random random(PrintedSeed());
  for (int round = 0; round < 2'000; ++round) {
    Bytes bytes = RandomBytes(random, 4 + 2 * Below(random, 30));
    bytes[0] = 0x45;  // a header is never all zero, which alone has two sums
    const uint16_t checksum = Checksum(bytes);
    const size_t at = 2 + 2 * Below(random, bytes.size() / 2 - 1);
    auto* word = HeaderAt<Be16>(bytes.data(), at);
    const uint16_t before = word->get();
    *word = static_cast<uint16_t>(Below(random, 4) == 0 ? ~before : random());
    if (UpdateChecksum(checksum, before, word->get()) != Checksum(bytes))
      FAIL(before << " to " << word->get());
  }
}

TEST_CASE("an update of 32 bits is one of two halves") {
  Bytes bytes = {0x45, 0, 1, 2, 10, 0, 0, 1, 10, 0, 0, 2};
  const uint16_t checksum = Checksum(bytes);
  *HeaderAt<Be32>(bytes.data(), 4) = uint32_t{0xc0a80109};
  CHECK(UpdateChecksum32(checksum, 0x0a000001, 0xc0a80109) == Checksum(bytes));
}

TEST_CASE("right checksums are good, and any changed byte that they cover makes them bad") {
  for (const Bytes& frame : FramesWithChecksums()) {
    CHECK(L4(frame) == kGood);
    ParsedPacket packet(frame);
    const uint32_t l4 = packet->layers().outer.l4;
    packet->data()[l4 + 1] ^= 1;
    CHECK(VerifyL4Checksum(*packet, kOuter) == kBad);
  }
  ParsedPacket packet(TcpFrame({.ip_options = Bytes(4, 1)}));
  CHECK(VerifyIpv4Checksum(*packet, kOuter) == kGood);
  packet->data()[14 + 20] ^= 1;  // in the options
  CHECK(VerifyIpv4Checksum(*packet, kOuter) == kBad);
}

TEST_CASE("filling restores the checksums of the frame builder, for any cut into fragments") {
  for (const Bytes& frame : FramesWithChecksums()) {
    for (const size_t piece : {size_t{0}, size_t{101}, size_t{128}}) {
      ParsedPacket packet(frame, piece);
      REQUIRE(StartL4Checksum(*packet, kOuter));
      REQUIRE(FillL4Checksum(*packet, kOuter));
      CHECK(packet.bytes() == frame);
    }
  }
}

TEST_CASE("filling the IPv4 checksum touches nothing else") {
  const Bytes frame = TcpFrame({.ip_options = Bytes(12, 1)});
  ParsedPacket packet(frame);
  HeaderAt<Ipv4Header>(packet->data(), 14)->checksum = uint16_t{0xdead};
  REQUIRE(FillIpv4Checksum(*packet, kOuter));
  CHECK(packet.bytes() == frame);
}

TEST_CASE("a packet in fragments of odd length verifies as in one piece") {
  const Bytes frame = UdpFrame({.payload_size = 5000});
  for (const size_t piece : {43, 77, 1001}) {
    ParsedPacket packet(frame, piece);
    CHECK(VerifyL4Checksum(*packet, kOuter) == kGood);
    Packet* last = packet->next();
    last->data()[last->head_length() - 1] ^= 0x10;
    CHECK(VerifyL4Checksum(*packet, kOuter) == kBad);
  }
}

// What a device or the kernel does with a partial checksum: sums from the L4 header on, the field included, and complements.
TEST_CASE("a started checksum is finished by summing from the L4 header on") {
  for (const Bytes& frame : {TcpFrame({}), UdpFrame(kIpv6), IcmpFrame(kIpv6)}) {
    ParsedPacket packet(frame);
    const uint32_t l4 = packet->layers().outer.l4;
    REQUIRE(StartL4Checksum(*packet, kOuter));
    const Bytes started = packet.bytes();
    const uint16_t finished = SimpleChecksum(absl::MakeConstSpan(started).subspan(l4));
    REQUIRE(FillL4Checksum(*packet, kOuter));
    const size_t field = l4 + FieldOffset(packet->layers().outer.l4_type);
    CHECK(HeaderAt<Be16>(packet->data(), field)->get() == finished);
  }
}

TEST_CASE("a UDP checksum of zero means none over IPv4, is bad over IPv6, and is allowed to a tunnel") {
  FrameSpec none4, none6 = kIpv6;
  none4.zero_udp_checksum = none6.zero_udp_checksum = true;
  CHECK(L4(UdpFrame(none4)) == kUnknown);
  CHECK(L4(UdpFrame(none6)) == kBad);
  CHECK(L4(VxlanFrame(none6, UdpFrame({}))) == kUnknown);
  CHECK(L4(VxlanFrame({}, UdpFrame(none6)), kInner) == kBad);
}

TEST_CASE("a UDP checksum that comes out as zero is sent as all ones") {
  // The payload cancels the sum of everything else.
  ParsedPacket packet(UdpFrame({.payload = std::string(2, '\0')}));
  auto* udp = HeaderAt<UdpHeader>(packet->data(), 34);
  *HeaderAt<Be16>(packet->data(), 42) = udp->checksum.get();
  REQUIRE(FillL4Checksum(*packet, kOuter));
  CHECK(udp->checksum.get() == 0xffff);
  CHECK(VerifyL4Checksum(*packet, kOuter) == kGood);
}

// An ICMP message may be all zeros; the checksum of zeros is all ones, and zero would not verify.
TEST_CASE("an ICMP echo reply of zeros gets a checksum of all ones, that of ICMPv6 covers a pseudo-header") {
  ParsedPacket packet(IpFrame({.bytes = Bytes(8)}, IpProtocol::kIcmp));
  REQUIRE(FillL4Checksum(*packet, kOuter));
  CHECK(HeaderAt<IcmpHeader>(packet->data(), 34)->checksum.get() == 0xffff);
  CHECK(VerifyL4Checksum(*packet, kOuter) == kGood);

  ParsedPacket six(IcmpFrame(kIpv6));
  six->data()[14 + offsetof(Ipv6Header, source) + 15] ^= 1;
  CHECK(VerifyL4Checksum(*six, kOuter) == kBad);
}

TEST_CASE("inner and outer checksums are told apart") {
  const Bytes frame = VxlanFrame(kIpv6, TcpFrame({}));
  ParsedPacket packet(frame);
  const uint32_t inner_tcp = packet->layers().inner.l4;
  CHECK(VerifyL4Checksum(*packet, kOuter) == kGood);
  CHECK(VerifyL4Checksum(*packet, LayerSet::kInnermost) == kGood);
  packet->data()[inner_tcp + 4] ^= 1;
  CHECK(VerifyL4Checksum(*packet, kOuter) == kBad);
  REQUIRE(FillL4Checksum(*packet, kInner));
  CHECK(VerifyL4Checksum(*packet, kInner) == kGood);
  // The right inner checksum makes the inner packet sum to a constant, so the outer one is right again too.
  CHECK(VerifyL4Checksum(*packet, kOuter) == kGood);
  CHECK(VerifyIpv4Checksum(*packet, kOuter) == kUnknown);
  CHECK(VerifyIpv4Checksum(*packet, kInner) == kGood);
}

// The headers, which are to be in the head, are followed by pieces that start and end anywhere.
TEST_CASE("inner and outer checksums of every kind are filled over fragments of odd length") {
  for (const FrameSpec& spec : {FrameSpec{.payload_size = 700}, [] {
                                  FrameSpec six = kIpv6;
                                  six.payload_size = 701;
                                  return six;
                                }()}) {
    for (const Bytes& inner : {TcpFrame(spec), UdpFrame(spec), IcmpFrame(spec)}) {
      const Bytes frame = VxlanFrame(kIpv6, inner);
      ParsedPacket packet(frame, 151);
      REQUIRE(packet->layers().inner_verdict == ParseVerdict::kOk);
      for (const LayerSet set : {kInner, kOuter}) {
        REQUIRE(StartL4Checksum(*packet, set));
        CHECK(VerifyL4Checksum(*packet, set) == kBad);
        REQUIRE(FillL4Checksum(*packet, set));
        CHECK(VerifyL4Checksum(*packet, set) == kGood);
      }
      CHECK(packet.bytes() == frame);
    }
  }
}

TEST_CASE("what has no checksum is neither filled nor judged") {
  for (const Bytes& frame : {ArpFrame({}), IpFrame({}, IpProtocol::kSctp), UdpFrame({.flags_offset = 185}),
                             UdpFrame({.flags_offset = Ipv4Header::kMoreFragments})}) {
    ParsedPacket packet(frame);
    CHECK_FALSE(FillL4Checksum(*packet, kOuter));
    CHECK_FALSE(StartL4Checksum(*packet, kOuter));
    CHECK(VerifyL4Checksum(*packet, kOuter) == kUnknown);
    CHECK(VerifyL4Checksum(*packet, kInner) == kUnknown);
    CHECK(packet.bytes() == frame);
  }
  ParsedPacket six(UdpFrame(kIpv6));
  CHECK_FALSE(FillIpv4Checksum(*six, kOuter));
}

}  // namespace
}  // namespace sluice
