// SPDX-License-Identifier: Apache-2.0
// VLAN tags, checksums, fragments and lengths: what the card does to frames.
#include <catch2/catch.hpp>

#include "sluice/packet/parse.h"
#include "tests/nic/model_pair.h"

namespace sluice::testing {
namespace {

constexpr PairOptions kCable = {.name = "cable", .carries_offloads = false, .carries_fragments = false};

// The same frame with its checksums spoilt, to be filled.
Bytes Spoilt(Bytes frame, const Layers& layers) {
  const size_t l4 = layers.outer.l4 + (layers.outer.l4_type == L4Type::kTcp ? 16u : 6u);
  frame[l4] = static_cast<uint8_t>(~frame[l4]);
  if (layers.outer.l3_type == L3Type::kIpv4) frame[layers.outer.l3 + 10u] ^= 0x5a;
  return frame;
}

Bytes Spoilt(const Bytes& frame) {
  Layers layers;
  REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
  return Spoilt(frame, layers);
}

struct NamedFrame {
  std::string name;
  Bytes bytes;
};

std::vector<NamedFrame> L4Frames() {
  return {{"UDP over IPv4", UdpFrame({})},
          {"TCP over IPv4", TcpFrame({.payload_size = 333})},
          {"UDP over IPv6", UdpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"})},
          {"TCP over IPv6", TcpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"})},
          {"tagged TCP", TcpFrame({.vlans = {7}})}};
}

PacketPtr WithChecksumRequest(ModelPair& pair, const Bytes& frame) {
  PacketPtr packet = pair.Packet(Spoilt(frame));
  packet->offload = {.l4_checksum = true, .l3_checksum = frame[12] == 0x08 || frame[16] == 0x08};
  return packet;
}

TEST_CASE("a requested checksum is filled before a wire that carries nothing unfinished") {
  ModelPair pair({.wire = kCable});
  for (const NamedFrame& frame : L4Frames()) {
    INFO(frame.name);
    pair.Send(WithChecksumRequest(pair, frame.bytes));
    const PacketPtr arrived = pair.ReceiveOne();
    REQUIRE(arrived != nullptr);
    CHECK(BytesOf(*arrived) == frame.bytes);
    CHECK_FALSE(arrived->offload.any());
    CHECK(arrived->l4_checksum == ChecksumVerdict::kUnknown);
  }
}

TEST_CASE("hardware that fills no checksums sends the same bytes") {
  ModelPair pair({.a = {.hardware = ModelHardware::Poor()}, .a_queues = {.rx_ring = 64, .tx_ring = 64}});
  for (const NamedFrame& frame : L4Frames()) {
    INFO(frame.name);
    pair.Send(WithChecksumRequest(pair, frame.bytes));
    const PacketPtr arrived = pair.ReceiveOne();
    REQUIRE(arrived != nullptr);
    CHECK(BytesOf(*arrived) == frame.bytes);
  }
}

TEST_CASE("over a wire in memory an unfinished frame crosses as partial, and keeps its request") {
  ModelPair pair({.b = {.verify_checksums = true, .drop_bad_checksums = true}});
  pair.Send(WithChecksumRequest(pair, TcpFrame({})));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->l4_checksum == ChecksumVerdict::kPartial);
  CHECK(arrived->l3_checksum == ChecksumVerdict::kPartial);
  CHECK(arrived->offload.l4_checksum);
  CHECK(BytesOf(*arrived) == Spoilt(TcpFrame({})));
}

TEST_CASE("a partial frame that goes on to a real cable is finished there") {
  ModelPair memory;
  ModelPair cable({.wire = kCable});
  memory.Send(WithChecksumRequest(memory, UdpFrame({})));
  cable.Send(memory.ReceiveOne());
  const PacketPtr arrived = cable.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(BytesOf(*arrived) == UdpFrame({}));
}

TEST_CASE("the checksums of a tunnelled frame are filled from the inside out") {
  const Bytes inner = TcpFrame({.payload_size = 100});
  ModelPair pair({.wire = kCable});
  const Bytes whole = VxlanFrame({}, inner);
  PacketPtr packet = pair.Packet(whole);
  Layers layers;
  REQUIRE(Parse(whole, static_cast<uint32_t>(whole.size()), layers) == ParseVerdict::kOk);
  packet->data()[layers.inner.l4 + 16u] ^= 0xff;
  packet->data()[layers.outer.l3 + 10u] ^= 0xff;
  packet->offload = {.l4_checksum = true, .l3_checksum = true, .outer_checksum = true};
  pair.Send(std::move(packet));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(BytesOf(*arrived) == whole);
}

TEST_CASE("a checksum request for a frame that has none is dropped as unsupported") {
  ModelPair pair({.wire = kCable});
  PacketPtr packet = pair.Packet(Padded(ArpFrame({})));
  packet->offload.l4_checksum = true;
  pair.Send(std::move(packet));
  CHECK(pair.SendDrops()[DropReason::kUnsupportedOffload] == 1);
  CHECK(pair.ReceiveOne() == nullptr);
}

struct VerdictCase {
  std::string claim;
  Bytes frame;
  ChecksumVerdict l3;
  ChecksumVerdict l4;
};

std::vector<VerdictCase> VerdictCases() {
  using enum ChecksumVerdict;
  const Bytes bad_tcp6 = Spoilt(TcpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"}));
  return {
      {"right checksums are good", UdpFrame({}), kGood, kGood},
      {"wrong ones are bad", Spoilt(UdpFrame({})), kBad, kBad},
      {"IPv6 has no header checksum", bad_tcp6, kUnknown, kBad},
      {"a UDP checksum of zero over IPv4 is unknown", UdpFrame({.zero_udp_checksum = true}), kGood, kUnknown},
      {"ARP has neither", Padded(ArpFrame({})), kUnknown, kUnknown},
      {"a tunnel is good when its inside is", VxlanFrame({}, TcpFrame({})), kGood, kGood},
      {"a tunnel is bad when its inside is", VxlanFrame({}, Spoilt(TcpFrame({}))), kBad, kBad},
      {"a truncated frame is unknown", Cut(UdpFrame({}), 20), kUnknown, kUnknown}};
}

TEST_CASE("receive checksum verdicts say what the frame says") {
  ModelPair pair({.b = {.verify_checksums = true}});
  for (const VerdictCase& c : VerdictCases()) {
    INFO(c.claim);
    pair.Send(c.frame);
    const PacketPtr arrived = pair.ReceiveOne();
    REQUIRE(arrived != nullptr);
    CHECK(arrived->l3_checksum == c.l3);
    CHECK(arrived->l4_checksum == c.l4);
  }
}

TEST_CASE("without verification every verdict is unknown") {
  ModelPair pair;
  pair.Send(Spoilt(UdpFrame({})));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->l3_checksum == ChecksumVerdict::kUnknown);
  CHECK(arrived->l4_checksum == ChecksumVerdict::kUnknown);
}

TEST_CASE("frames with bad checksums are dropped when that is asked, and counted") {
  ModelPair pair({.b = {.verify_checksums = true, .drop_bad_checksums = true}});
  pair.Send(Spoilt(UdpFrame({})));
  pair.Send(UdpFrame({}));
  CHECK(pair.ReceiveOne() != nullptr);
  CHECK(pair.ReceiveOne() == nullptr);
  CHECK(pair.b().drops()[DropReason::kBadChecksum] == 1);
}

TEST_CASE("a stripped tag goes beside the frame, and back into it") {
  const Bytes tagged = UdpFrame({.vlans = {0x6064}});
  ModelPair in({.b = {.strip_vlan = true}});
  in.Send(tagged);
  PacketPtr packet = in.ReceiveOne();
  REQUIRE(packet != nullptr);
  CHECK(packet->vlan_stripped);
  CHECK(packet->vlan_tci == 0x6064);
  CHECK(BytesOf(*packet) == UdpFrame({}));

  ModelPair out({.wire = kCable});
  packet->offload.insert_vlan = true;
  out.Send(std::move(packet));
  const PacketPtr arrived = out.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(BytesOf(*arrived) == tagged);
  CHECK_FALSE(arrived->vlan_stripped);
}

TEST_CASE("only the outermost 802.1Q tag is stripped, and an untagged frame left alone") {
  ModelPair pair({.b = {.strip_vlan = true}});
  pair.Send(UdpFrame({.vlans = {10, 20}}));
  PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->vlan_tci == 10);
  CHECK(BytesOf(*arrived) == UdpFrame({.vlans = {20}}));
  pair.Send(UdpFrame({}));
  arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK_FALSE(arrived->vlan_stripped);
}

TEST_CASE("a tag that crosses a wire in memory beside its frame is put where the receiver wants it") {
  const bool strip = GENERATE(false, true);
  ModelPair pair({.b = {.strip_vlan = strip}});
  PacketPtr packet = pair.Packet(UdpFrame({}));
  packet->vlan_tci = 99;
  packet->offload.insert_vlan = true;
  pair.Send(std::move(packet));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->vlan_stripped == strip);
  CHECK_FALSE(arrived->offload.insert_vlan);
  CHECK(BytesOf(*arrived) == (strip ? UdpFrame({}) : UdpFrame({.vlans = {99}})));
}

TEST_CASE("a tag is put in even when the buffer has no headroom left") {
  ModelPair pair({.wire = kCable});
  PacketPtr packet = pair.Packet(UdpFrame({}));
  packet->Prepend(static_cast<uint32_t>(packet->headroom()));
  packet->SetHeadroom(0);
  const Bytes frame = UdpFrame({});
  std::copy(frame.begin(), frame.end(), packet->data());
  packet->SetLength(static_cast<uint32_t>(frame.size()));
  packet->vlan_tci = 5;
  packet->offload.insert_vlan = true;
  pair.Send(std::move(packet));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(BytesOf(*arrived) == UdpFrame({.vlans = {5}}));
}

TEST_CASE("pieces are joined for a wire that carries none, and sent as they are over one that does") {
  const Bytes frame = TcpFrame({.payload_size = 1000});
  const bool carries = GENERATE(false, true);
  ModelPair pair({.wire = {.carries_fragments = carries}});
  pair.Send(pair.Packet(frame, 300));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->contiguous() == !carries);
  CHECK(BytesOf(*arrived) == frame);
}

TEST_CASE("pieces that no buffer holds together are too long for a wire that carries none") {
  ModelPair pair({.wire = kCable});
  pair.Send(pair.Packet(UdpFrame({.payload_size = 4000})));
  CHECK(pair.SendDrops()[DropReason::kTooLong] == 1);
}

TEST_CASE("a join without a buffer is counted as such") {
  ModelPair pair({.wire = kCable, .pool = {.packets = 4, .huge_pages = HugePages::kOff}});
  PacketPtr packet = pair.Packet(UdpFrame({.payload_size = 300}), 128);
  Burst rest;
  pair.pool().Get(rest, 4);
  pair.Send(std::move(packet));
  CHECK(pair.SendDrops()[DropReason::kNoBuffer] == 1);
}

TEST_CASE("segmenting crosses a wire in memory as a request, and arrives as coalesced") {
  ModelPair pair;
  PacketPtr packet = pair.Packet(TcpFrame({.payload_size = 3500}));
  packet->offload = {.l4_checksum = true, .segment = true, .mss = 1000};
  pair.Send(std::move(packet));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->coalesced_segments() == 4);
  CHECK(arrived->coalesced_size() == 1000);
  CHECK(arrived->l4_checksum == ChecksumVerdict::kPartial);
}

TEST_CASE("a receiver drops what is longer than its own frames may be") {
  ModelPair pair({.b = {.hardware = {.max_frame = 1514}}});
  pair.Send(UdpFrame({.payload_size = 1514 - 42}));
  pair.Send(UdpFrame({.payload_size = 1514 - 41}));
  CHECK(pair.ReceiveOne() != nullptr);
  CHECK(pair.ReceiveOne() == nullptr);
  CHECK(pair.b().drops()[DropReason::kTooLong] == 1);
}

TEST_CASE("arrivals are stamped with the virtual clock when that is asked") {
  ManualClock clock;
  ModelPair pair({.b = {.clock = &clock, .stamp = true}});
  clock.Advance(absl::Microseconds(7));
  pair.Send(UdpFrame({}));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->timestamp() == 7000);
}

TEST_CASE("what an earlier hop knew of a frame is forgotten on arrival") {
  ModelPair pair;
  PacketPtr packet = pair.Packet(UdpFrame({}));
  packet->ingress_port = PortId{77};
  packet->vlan_stripped = true;
  packet->l4_checksum = ChecksumVerdict::kGood;
  packet->rss_type = RssType::kIpv4;
  packet->set_mark(9);
  packet->set_timestamp(1);
  packet->set_coalesced(2, 100);
  pair.Send(std::move(packet));
  const PacketPtr arrived = pair.ReceiveOne();
  REQUIRE(arrived != nullptr);
  CHECK(arrived->ingress_port == PortId{});
  CHECK_FALSE(arrived->vlan_stripped);
  CHECK(arrived->l4_checksum == ChecksumVerdict::kUnknown);
  CHECK(arrived->rss_type == RssType::kNone);
  CHECK(arrived->mark() == 0);
  CHECK(arrived->timestamp() == 0);
  CHECK(arrived->coalesced_segments() == 0);
}

}  // namespace
}  // namespace sluice::testing
