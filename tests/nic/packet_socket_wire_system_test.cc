// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "sluice/base/status.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/support/frames.h"
#include "tests/support/netns.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::MakePacket;
using testing::Namespace;
using testing::NamespaceScope;
using testing::Process;
using testing::Range;
using testing::Readable;
using testing::UdpFrame;
using testing::UntilDown;
using testing::UntilUp;
using testing::VethOptions;
using testing::VethPair;
using testing::WireEnd;

// left ── veth ── right, each in a namespace of its own, with a packet socket wire on either end.
struct Cable {
  explicit Cable(const VethOptions& options = {})
      : left(Namespace::Make("left")),
        right(Namespace::Make("right")),
        veth(left, "eth0", right, "eth0", options) {}

  absl::StatusOr<std::unique_ptr<Wire>> WireIn(const Namespace& where) const {
    return MakePacketSocketWire({.interface = "eth0", .netns = where.path()});
  }

  Namespace left, right;
  VethPair veth;
};

// `count` frames, or those that came in time.
std::vector<uint64_t> ReceiveNumbers(WireEnd& end, size_t count) {
  std::vector<uint64_t> numbers;
  while (numbers.size() < count) {
    const PacketPtr packet = end.ReceiveOne();
    if (packet == nullptr) break;
    numbers.push_back(testing::NumberOf(*packet));
  }
  return numbers;
}

}  // namespace

TEST_CASE("frames cross a veth pair between packet socket wires, in order and whole, and not back") {
  Cable cable;
  WireEnd a(cable.WireIn(cable.left)), b(cable.WireIn(cable.right));
  UntilUp(a, b);
  for (const uint32_t length : {60u, 61u, 1000u, 1514u}) {
    CHECK(a.Send(length, 50, length) == 50);
    CHECK(ReceiveNumbers(b, 50) == Range(length, length + 50));
  }
  CHECK(a.Receive().empty());
  CHECK(a.out() + b.out() == 0);
}

TEST_CASE("a frame in pieces goes out as one") {
  Cable cable;
  WireEnd a(cable.WireIn(cable.left)), b(cable.WireIn(cable.right));
  UntilUp(a, b);
  const Bytes frame = BytesOf(*a.Numbered(3, 1200));
  CHECK(a.SendOne(MakePacket(a.pool(), frame, 100)));
  CHECK(ReceiveNumbers(b, 1) == Range(3, 4));
  CHECK(a.SendOne(MakePacket(a.pool(), frame, 10)));  // more pieces than one system call takes
  CHECK(a.Lost(DropReason::kTooLong) == 1);
}

TEST_CASE("a VLAN tag that the kernel takes out is in its place again") {
  Cable cable;
  WireEnd a(cable.WireIn(cable.left)), b(cable.WireIn(cable.right));
  UntilUp(a, b);
  for (const Bytes& frame : {UdpFrame({.vlans = {0x6064}}), UdpFrame({.vlans = {0x2001, 0x0007}}),
                             UdpFrame({.vlans = {5, 6}, .outer_vlan_type = Ethertype::kServiceVlan})}) {
    CHECK(a.SendOne(MakePacket(a.pool(), frame)));
    const PacketPtr packet = b.ReceiveOne();
    REQUIRE(packet != nullptr);
    CHECK(BytesOf(*packet) == frame);
  }
}

TEST_CASE("a checksum that the kernel left unfinished arrives as a request, which software can do") {
  Cable cable({.address_a = "10.0.0.1/24", .offloads = true});
  cable.left.MustRun("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0");
  WireEnd b(cable.WireIn(cable.right));
  UntilUp(b);
  cable.left.MustRun("bash -c 'echo unfinished > /dev/udp/10.0.0.2/9'");

  const PacketPtr packet = b.ReceiveOne();
  REQUIRE(packet != nullptr);
  CHECK(packet->offload.l4_checksum);
  CHECK(packet->l4_checksum == ChecksumVerdict::kPartial);
  REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kBad);
  REQUIRE(FillL4Checksum(*packet, LayerSet::kOuter));
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kGood);
}

TEST_CASE("frames longer than the option allows are counted, in either direction") {
  Cable cable({.mtu = 9000});
  WireEnd a(MakePacketSocketWire({.interface = "eth0", .netns = cable.left.path(), .max_frame = 9018}));
  WireEnd b(cable.WireIn(cable.right));
  UntilUp(a, b);
  CHECK(a.Send(1, 1, 9014) == 1);
  CHECK(a.Send(2, 1, 60) == 1);
  CHECK(ReceiveNumbers(b, 1) == Range(2, 3));
  CHECK(b.Lost(DropReason::kTooLong) == 1);

  CHECK(a.Send(3, 1, 9100) == 1);  // more than the interface's MTU
  CHECK(a.Lost(DropReason::kTooLong) == 1);
}

TEST_CASE("a receive ring that nobody empties overflows, and each frame is counted") {
  Cable cable;
  WireEnd a(cable.WireIn(cable.left)), b(cable.WireIn(cable.right), {.ring = 64});
  UntilUp(a, b);
  REQUIRE(a.Send(0, 200) == 200);
  std::vector<uint64_t> got;
  // The kernel delivers a moment later, on a thread of its own.
  while (got.size() + b.Lost(DropReason::kReceiveRingFull) < 200) {
    if (b.Lost(DropReason::kReceiveRingFull) == 0) continue;
    for (const uint64_t number : b.Receive()) got.push_back(number);
  }
  CHECK(got.size() >= 64);
  CHECK(got.size() + b.Lost(DropReason::kReceiveRingFull) == 200);
}

TEST_CASE("a packet socket wire sleeps until a frame comes") {
  Cable cable;
  WireEnd a(cable.WireIn(cable.left)), b(cable.WireIn(cable.right));
  UntilUp(a, b);
  CHECK(b.Receive().empty());
  REQUIRE(b.wire().Arm());
  CHECK_FALSE(Readable(b.wire().fd()));
  CHECK(a.Send(0, 1) == 1);
  CHECK(ReceiveNumbers(b, 1) == Range(0, 1));  // waits for the descriptor
  REQUIRE(b.wire().Arm());
  CHECK_FALSE(Readable(b.wire().fd()));
}

TEST_CASE("the link follows the interface down, up and away, and a sleeper finds its rest") {
  Cable cable;
  WireEnd b(cable.WireIn(cable.right));
  UntilUp(b);
  cable.right.MustRun("ip link set eth0 down");
  UntilDown(b);
  CHECK(b.Send(0, 1) == 0);
  CHECK(b.Receive().empty());
  CHECK(b.wire().Arm());
  b.Receive();
  CHECK_FALSE(Readable(b.wire().fd()));

  cable.right.MustRun("ip link set eth0 up");
  UntilUp(b);
  CHECK_FALSE(b.wire().gone());
  cable.veth.Remove();
  UntilDown(b);
  CHECK(b.wire().gone());
  CHECK(b.wire().link_detail() == "the interface is gone");
  b.wire().Arm();
  CHECK(b.Receive().empty());
  CHECK_FALSE(Readable(b.wire().fd()));
  CHECK_FALSE(Readable(b.wire().service_fd()));
}

TEST_CASE("the namespace may be the calling thread's, which stays where it is") {
  Cable cable;
  WireEnd a(cable.WireIn(cable.left));
  const NamespaceScope inside(cable.right);
  WireEnd b(MakePacketSocketWire({.interface = "eth0"}));
  UntilUp(a, b);
  CHECK(a.Send(0, 1) == 1);
  CHECK(ReceiveNumbers(b, 1) == Range(0, 1));
}

TEST_CASE("an interface, namespace or privilege that is missing is named, with the remedy") {
  Cable cable;
  const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff});
  const auto refusal = [&](const PacketSocketWireOptions& options) {
    return (*MakePacketSocketWire(options))->Open({.ring = 8, .pool = pool->get()});
  };
  const absl::Status missing = refusal({.interface = "nosuch0", .netns = cable.left.path()});
  CHECK(missing.code() == absl::StatusCode::kNotFound);
  CHECK(ProblemOf(missing)->device == "packet socket nosuch0");
  CHECK(refusal({.interface = "eth0", .netns = "/no/such"}).code() == absl::StatusCode::kNotFound);

  Process other = Process::Fork(
      [&] {
        if (setuid(65534) != 0) return 1;
        return refusal({.interface = "eth0"}).code() == absl::StatusCode::kPermissionDenied ? 0 : 2;
      },
      &cable.left);
  CHECK(other.Wait(absl::Seconds(10)) == 0);
}

TEST_CASE("wrong options of a packet socket wire are refused by name") {
  CHECK_FALSE(MakePacketSocketWire({.interface = ""}).ok());
  CHECK_FALSE(MakePacketSocketWire({.interface = "sixteen-letters0"}).ok());
  CHECK_FALSE(MakePacketSocketWire({.interface = "eth0", .max_frame = 63}).ok());
  CHECK_FALSE(MakePacketSocketWire({.interface = "eth0", .max_frame = 65536}).ok());
}

}  // namespace sluice
