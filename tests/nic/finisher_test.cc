// SPDX-License-Identifier: Apache-2.0
// What is finished before it goes on a wire behind which a device does some of it: a kernel behind TAP.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nic/offload/finisher_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

constexpr OffloadRequest kCut = {.l4_checksum = true, .segment = true, .mss = 1000};
const FrameSpec kBig = {.payload_size = 3000};

class Kernel {
 public:
  explicit Kernel(FinisherOptions options = {.max_frame = 1518,
                                             .carries_l4_checksum = true,
                                             .carries_tso = true,
                                             .uso_segments = 64,
                                             .carries_fragments = true})
      : finisher_(With(*pool_, options)) {}

  PacketPtr Make(const Bytes& frame, const OffloadRequest& ask) {
    PacketPtr packet = MakePacket(*pool_, frame);
    packet->offload = ask;
    return packet;
  }
  bool Cuts(const Bytes& frame, const OffloadRequest& ask = kCut) {
    return finisher_.MustCut(*Make(frame, ask));
  }
  PacketPtr Finished(const Bytes& frame, const OffloadRequest& ask) {
    PacketPtr packet = Make(frame, ask);
    REQUIRE_FALSE(finisher_.Finish(packet).has_value());
    return packet;
  }

 private:
  static FinisherOptions With(PacketPool& pool, FinisherOptions options) {
    options.pool = &pool;
    return options;
  }

  const std::unique_ptr<PacketPool> pool_ =
      *PacketPool::Create({.packets = 128, .huge_pages = HugePages::kOff});
  const Finisher finisher_;
};

}  // namespace

TEST_CASE("a wire to a kernel takes TCP and UDP uncut, and no more of it than a kernel cuts") {
  struct Row {
    std::string sentence;
    Bytes frame;
    OffloadRequest ask;
    bool cut;
  };
  const auto sized = [](uint16_t mss) {
    return OffloadRequest{.l4_checksum = true, .segment = true, .mss = mss};
  };
  FrameSpec six = kBig;
  six.source = "2001:db8::1", six.destination = "2001:db8::2";
  FrameSpec bare = kBig;
  bare.zero_udp_checksum = true;
  const std::vector<Row> rows = {
      {"TCP over IPv4", TcpFrame(kBig), kCut, false},
      {"TCP over IPv6", TcpFrame(six), kCut, false},
      {"UDP", UdpFrame(kBig), kCut, false},
      {"UDP of 64 segments", UdpFrame(kBig), sized(47), false},
      {"UDP of more", UdpFrame(kBig), sized(46), true},
      {"UDP without checksum", UdpFrame(bare), {.segment = true, .mss = 1000}, true},
      {"a tunnel", VxlanFrame({}, TcpFrame(kBig)), kCut, true},
      {"segments of max_frame", TcpFrame(kBig), sized(1464), false},
      {"segments beyond it", TcpFrame(kBig), sized(1465), true},
      {"ids that stay",
       TcpFrame(kBig),
       {.l4_checksum = true, .segment = true, .fixed_ids = {.outer = true}, .mss = 1000},
       true},
      {"no size", TcpFrame(kBig), sized(0), true},
      {"a frame that is cut off", Cut(TcpFrame(kBig), 50), kCut, true},
      {"neither TCP nor UDP", IcmpFrame(kBig), kCut, true},
      {"no segments", TcpFrame(kBig), {.l4_checksum = true}, false},
  };
  Kernel kernel;
  for (const Row& row : rows) {
    INFO(row.sentence);
    CHECK(kernel.Cuts(row.frame, row.ask) == row.cut);
  }
}

TEST_CASE("what a kernel does not cut is cut here") {
  Kernel tcp(
      {.max_frame = 1518, .carries_l4_checksum = true, .carries_tso = true, .carries_fragments = true});
  CHECK_FALSE(tcp.Cuts(TcpFrame(kBig)));
  CHECK(tcp.Cuts(UdpFrame(kBig)));
  Kernel udp({.max_frame = 1518, .carries_l4_checksum = true, .uso_segments = 64, .carries_fragments = true});
  CHECK(udp.Cuts(TcpFrame(kBig)));
  CHECK_FALSE(udp.Cuts(UdpFrame(kBig)));
  Kernel joined({.max_frame = 1518, .carries_l4_checksum = true, .carries_tso = true});
  CHECK(joined.Cuts(TcpFrame(kBig)));  // in two pieces
}

TEST_CASE("the L4 checksum is left, all others are filled") {
  Kernel kernel;
  const PacketPtr plain = kernel.Finished(TcpFrame({}), {.l4_checksum = true});
  CHECK(plain->offload.l4_checksum);

  Bytes frame = TcpFrame(kBig);
  frame[24] ^= 0xff;  // the IPv4 header's
  OffloadRequest ask = kCut;
  ask.l3_checksum = true;
  const PacketPtr big = kernel.Finished(frame, ask);
  CHECK(big->offload.flags() == kCut.flags());
  CHECK((BytesOf(*big) == TcpFrame(kBig)));
}

TEST_CASE("an L4 checksum is filled when one outside of it is asked for, which covers it") {
  Kernel kernel;
  const Bytes right = VxlanFrame({}, TcpFrame({}));
  Bytes frame = right;
  frame[14 + 20 + 6] ^= 0xff;             // outer UDP's
  frame[14 + 20 + 8 + 8 + 34 + 16] ^= 1;  // inner TCP's
  const PacketPtr packet = kernel.Finished(frame, {.l4_checksum = true, .outer_checksum = true});
  CHECK_FALSE(packet->offload.any());
  CHECK((BytesOf(*packet) == right));
}

}  // namespace sluice::testing
