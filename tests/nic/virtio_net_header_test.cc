// SPDX-License-Identifier: Apache-2.0
// What a header says of a frame, and what it may not say.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/support/frames.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

using Reason = std::optional<DropReason>;

class Frames {
 public:
  PacketPtr Make(const Bytes& bytes, OffloadRequest ask = {}) {
    PacketPtr packet = MakePacket(*pool_, bytes);
    REQUIRE(packet != nullptr);
    packet->offload = ask;
    return packet;
  }
  // Why a frame that comes with `header` is refused.
  Reason Refused(const Bytes& bytes, const VirtioNetHeader& header) { return TakeIn(header, *Make(bytes)); }

 private:
  const std::unique_ptr<PacketPool> pool_ =
      *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
};

constexpr OffloadRequest kFill = {.l4_checksum = true};
constexpr OffloadRequest kCut = {.l4_checksum = true, .segment = true, .mss = 1000};

const FrameSpec kBig4 = {.payload_size = 3000};
const FrameSpec kBig6 = {.source = "2001:db8::1", .destination = "2001:db8::2", .payload_size = 3000};

bool Same(const OffloadRequest& a, const OffloadRequest& b) {
  return a.flags() == b.flags() && a.mss == b.mss && a.mss_override == b.mss_override;
}

}  // namespace

TEST_CASE("a header has the values that virtio gives them") {
  struct Row {
    Bytes frame;
    OffloadRequest ask;
    VirtioNetHeader header;
  };
  FrameSpec tagged = kBig4, congested = kBig4;
  tagged.vlans = {7};
  congested.tcp_flags = TcpHeader::kAck | TcpHeader::kCwr;
  OffloadRequest wider = kCut;
  wider.mss_override = 1400;
  const std::vector<Row> rows = {
      {TcpFrame({}), {}, {}},
      {TcpFrame({}), kFill, {1, 0, 0, 0, 34, 16}},
      {UdpFrame({}), kFill, {1, 0, 0, 0, 34, 6}},
      {VxlanFrame({.zero_udp_checksum = true}, TcpFrame({})), kFill, {1, 0, 0, 0, 84, 16}},
      {IcmpFrame({}), kFill, {1, 0, 0, 0, 34, 2}},
      {TcpFrame(kBig4), kCut, {1, 1, 54, 1000, 34, 16}},
      {TcpFrame(kBig4), wider, {1, 1, 54, 1400, 34, 16}},
      {TcpFrame(tagged), kCut, {1, 1, 58, 1000, 38, 16}},
      {TcpFrame(congested), kCut, {1, 0x81, 54, 1000, 34, 16}},
      {TcpFrame(kBig6), kCut, {1, 4, 74, 1000, 54, 16}},
      {UdpFrame(kBig4), kCut, {1, 5, 42, 1000, 34, 6}},
      {UdpFrame(kBig6), kCut, {1, 5, 62, 1000, 54, 6}},
      {TcpFrame({.payload_size = 1000}), kCut, {1, 0, 0, 0, 34, 16}},  // one segment is no cut
  };
  Frames frames;
  for (const Row& row : rows) {
    CAPTURE(&row - rows.data());
    VirtioNetHeader header;
    CHECK(Express(*frames.Make(row.frame, row.ask), header) == Reason());
    CHECK((header == row.header));
  }
}

TEST_CASE("a request comes out of a header as it went in, and software finishes what it asks for") {
  Frames frames;
  for (const Bytes& frame : {TcpFrame(kBig4), TcpFrame(kBig6), UdpFrame(kBig4), UdpFrame(kBig6)}) {
    for (const OffloadRequest& ask : {kFill, kCut}) {
      VirtioNetHeader header;
      const PacketPtr there = frames.Make(frame, ask);
      REQUIRE(Express(*there, header) == Reason());
      const PacketPtr here = frames.Make(BytesOf(*there));
      REQUIRE(TakeIn(header, *here) == Reason());
      CHECK(Same(here->offload, ask));
      CHECK(here->l4_checksum == ChecksumVerdict::kPartial);
      REQUIRE(FillL4Checksum(*here, LayerSet::kOuter));
      CHECK((BytesOf(*here) == frame));
    }
  }
}

TEST_CASE("a header that contradicts its frame is a reason to drop the frame") {
  struct Row {
    std::string sentence;
    Bytes frame;
    VirtioNetHeader header;
    DropReason reason = DropReason::kMalformed;
  };
  const Bytes tcp = TcpFrame(kBig4), udp = UdpFrame(kBig4);
  const std::vector<Row> rows = {
      {"the checksum starts behind the end", tcp, {1, 0, 0, 0, 4000, 16}},
      {"its field ends behind the end", Cut(TcpFrame({.payload = ""}), 54), {1, 0, 0, 0, 34, 19}},
      {"start and offset add up to more than 16 bits", tcp, {1, 0, 0, 0, 0xffff, 0xffff}},
      {"segments, and a finished checksum", tcp, {0, 1, 54, 1000, 34, 16}},
      {"segments, and a checksum elsewhere", tcp, {1, 1, 54, 1000, 34, 6}},
      {"segments of no size", tcp, {1, 1, 54, 0, 34, 16}},
      {"a header longer than the frame", tcp, {1, 1, 3055, 1000, 34, 16}},
      {"TCP over IPv6, which is over IPv4", tcp, {1, 4, 54, 1000, 34, 16}},
      {"TCP, which is UDP", udp, {1, 1, 54, 1000, 34, 6}},
      {"UDP, which is TCP", tcp, {1, 5, 54, 1000, 34, 16}},
      {"segments in a tunnel", VxlanFrame({}, tcp), {1, 1, 104, 1000, 84, 16}},
      {"segments of a cut frame", Cut(tcp, 50), {1, 1, 54, 1000, 34, 6}},
      {"UFO", udp, {1, 3, 42, 1000, 34, 6}, DropReason::kUnsupportedOffload},
      {"a type of the future", udp, {1, 0x25, 42, 1000, 34, 6}, DropReason::kUnsupportedOffload},
  };
  Frames frames;
  for (const Row& row : rows) {
    INFO(row.sentence);
    CHECK(frames.Refused(row.frame, row.header) == Reason(row.reason));
  }
}

TEST_CASE("a checksum that no request can name is finished on arrival") {
  Frames frames;
  Bytes echo = IcmpFrame({.payload = "odd length 1234"});
  echo[36] = echo[37] = 0;
  const PacketPtr icmp = frames.Make(echo);
  CHECK(TakeIn({1, 0, 0, 0, 34, 2}, *icmp) == Reason());
  CHECK_FALSE(icmp->offload.any());
  REQUIRE(Parse(*icmp) == ParseVerdict::kOk);
  CHECK(VerifyL4Checksum(*icmp, LayerSet::kOuter) == ChecksumVerdict::kGood);

  // Outside of a tunnel, while the inner one is right.
  const PacketPtr tunnel = frames.Make(VxlanFrame({}, TcpFrame({.payload_size = 1000})));
  REQUIRE(Parse(*tunnel) == ParseVerdict::kOk);
  REQUIRE(StartL4Checksum(*tunnel, LayerSet::kOuter));
  CHECK(TakeIn({1, 0, 0, 0, 34, 6}, *tunnel) == Reason());
  CHECK_FALSE(tunnel->offload.any());
  CHECK(VerifyL4Checksum(*tunnel, LayerSet::kOuter) == ChecksumVerdict::kGood);
  CHECK(VerifyL4Checksum(*tunnel, LayerSet::kInner) == ChecksumVerdict::kGood);
}

TEST_CASE("a checksum that the other side verified is good") {
  Frames frames;
  const PacketPtr packet = frames.Make(TcpFrame({}));
  CHECK(TakeIn({VirtioNetHeader::kDataValid}, *packet) == Reason());
  CHECK(packet->l4_checksum == ChecksumVerdict::kGood);
  CHECK_FALSE(packet->offload.any());
}

TEST_CASE("what no header can say is refused") {
  Frames frames;
  VirtioNetHeader header;
  const auto refused = [&](const Bytes& frame, const OffloadRequest& ask) {
    return Express(*frames.Make(frame, ask), header) == Reason(DropReason::kUnsupportedOffload);
  };
  CHECK(refused(TcpFrame({}), {.l3_checksum = true}));
  CHECK(refused(TcpFrame({}), {.outer_checksum = true}));
  CHECK(refused(TcpFrame({}), {.insert_vlan = true}));
  CHECK(refused(IcmpFrame({}), kCut));
  CHECK(refused(ArpFrame({}), kFill));
  CHECK(refused(Cut(TcpFrame({}), 40), kFill));
  CHECK(refused(TcpFrame(kBig4), {.segment = true}));  // of what size?
  CHECK(refused(VxlanFrame({}, TcpFrame(kBig4)), kCut));
}

TEST_CASE("whatever a header says, a frame is refused or can be sent on with the same request") {
  Frames frames;
  const std::vector<Bytes> some = {
      TcpFrame(kBig4),       UdpFrame(kBig6), TcpFrame({}), IcmpFrame({}), VxlanFrame({}, TcpFrame({})),
      Cut(UdpFrame({}), 38), Bytes(60)};
  Random random(PrintedSeed());
  const auto one_of = [&](std::vector<uint16_t> values) {
    return Below(random, 8) == 0 ? static_cast<uint16_t>(random()) : values[random() % values.size()];
  };
  for (int i = 0; i < 20000; ++i) {
    const VirtioNetHeader header = {static_cast<uint8_t>(random() % 4),
                                    static_cast<uint8_t>(one_of({0, 1, 4, 5, 0x81})),
                                    one_of({0, 42, 54, 74}),
                                    one_of({0, 1, 536, 1000}),
                                    one_of({14, 34, 54, 84}),
                                    one_of({2, 6, 16})};
    const PacketPtr packet = frames.Make(some[random() % some.size()]);
    if (TakeIn(header, *packet)) continue;
    const OffloadRequest asked = packet->offload;
    VirtioNetHeader onward;
    REQUIRE(Express(*packet, onward) == Reason());
    const bool one = asked.segment && onward.gso_type == VirtioNetHeader::kWhole;
    CHECK((one || (onward.gso_size == (asked.segment ? header.gso_size : 0))));
    CHECK((onward.flags & VirtioNetHeader::kNeedsChecksum) == (asked.l4_checksum ? 1 : 0));
  }
}

}  // namespace sluice::testing
