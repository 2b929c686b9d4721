// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/unique_fd_internal.h"
#include "sluice/base/status.h"
#include "sluice/nic/tap_wire.h"
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
using testing::Readable;
using testing::UdpFrame;
using testing::UntilDown;
using testing::UntilUp;
using testing::WireEnd;

constexpr const char* kTapMac = "02:00:00:00:00:01";

// A kernel at 10.0.0.1 behind tap0; we are 10.0.0.2.
struct Kernel {
  explicit Kernel(const TapWireOptions& options = {}, const testing::WireEndOptions& ours = {})
      : ns(Namespace::Make("tap")), end(WireIn(ns, options), ours) {
    ns.MustRun(std::string("ip link set tap0 address ") + kTapMac);
    ns.MustRun("ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 up");
    ns.MustRun("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev tap0");
    UntilUp(end);
  }

  static absl::StatusOr<std::unique_ptr<Wire>> WireIn(const Namespace& where, TapWireOptions options) {
    options.interface = "tap0";
    options.netns = where.path();
    return MakeTapWire(options);
  }
  // A datagram from us to port 2000 there.
  static testing::FrameSpec ToKernel() {
    return {.source_mac = "02:00:00:00:00:02",
            .destination_mac = kTapMac,
            .source = "10.0.0.2",
            .destination = "10.0.0.1",
            .destination_port = 2000};
  }
  // So many datagrams in one call, the bytes of all together 0, 1, ... 250, 0, ...
  void SendUncut(int datagrams, int bytes) const {
    ns.MustRun(absl::StrCat(
        "python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(socket.IPPROTO_UDP, 103, ",  // UDP_SEGMENT
        bytes, "); s.sendto(bytes(i % 251 for i in range(", datagrams * bytes, ")), ('10.0.0.2', 9))\""));
  }
  std::string Counter(const std::string& name) const {
    return ns.MustRun("nstat -az " + name + " | awk '/" + name + "/ {printf \"%s\", $2}'");
  }

  Namespace ns;
  WireEnd end;
};

// Bound to port 2000 in the kernel's namespace.
class UdpSocket {
 public:
  explicit UdpSocket(const Namespace& where) {
    const NamespaceScope inside(where);
    fd_ = UniqueFd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(2000);
    const timeval patience{1, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    REQUIRE(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  // Empty when nothing comes.
  std::string Receive() const {
    char text[2048];
    const ssize_t bytes = recv(fd_.get(), text, sizeof(text), 0);
    return std::string(text, bytes < 0 ? 0 : static_cast<size_t>(bytes));
  }

 private:
  UniqueFd fd_;
};

// What the kernel sends first that is UDP.
PacketPtr NextUdp(WireEnd& end) {
  for (;;) {
    PacketPtr packet = end.ReceiveOne();
    if (packet == nullptr) return nullptr;
    if (Parse(*packet) == ParseVerdict::kOk && packet->layers().outer.l4_type == L4Type::kUdp) return packet;
  }
}

}  // namespace

TEST_CASE("the kernel believes a finished checksum that crosses a TAP wire, and refuses a wrong one") {
  Kernel kernel;
  const UdpSocket socket(kernel.ns);
  Bytes frame = UdpFrame(Kernel::ToKernel());
  CHECK(kernel.end.SendOne(MakePacket(kernel.end.pool(), frame)));
  CHECK(socket.Receive() == "sluice test payload");
  CHECK(kernel.Counter("UdpInCsumErrors") == "0");

  frame.back() ^= 1;
  CHECK(kernel.end.SendOne(MakePacket(kernel.end.pool(), frame)));
  CHECK(socket.Receive().empty());
  CHECK(kernel.Counter("UdpInCsumErrors") == "1");
}

TEST_CASE("a checksum that is left to the kernel is finished by it, whatever the field held") {
  Kernel kernel;
  const UdpSocket socket(kernel.ns);
  PacketPtr packet = MakePacket(kernel.end.pool(), UdpFrame(Kernel::ToKernel()), 50);
  packet->data()[14 + 20 + 6] ^= 0xff;
  packet->offload.l4_checksum = true;
  CHECK(kernel.end.SendOne(std::move(packet)));
  CHECK(socket.Receive() == "sluice test payload");
  CHECK(kernel.Counter("UdpInCsumErrors") == "0");
}

TEST_CASE("a checksum that the kernel leaves unfinished arrives as a request, which software can do") {
  Kernel kernel;
  kernel.ns.MustRun("bash -c 'echo unfinished > /dev/udp/10.0.0.2/9'");
  const PacketPtr packet = NextUdp(kernel.end);
  REQUIRE(packet != nullptr);
  CHECK(packet->offload.l4_checksum);
  CHECK(packet->l4_checksum == ChecksumVerdict::kPartial);
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kBad);
  REQUIRE(FillL4Checksum(*packet, LayerSet::kOuter));
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kGood);
}

TEST_CASE("with checksums off, the kernel finishes what it sends, and is sent nothing unfinished") {
  Kernel kernel({.checksums = Want::kOff});
  CHECK_FALSE(kernel.end.wire().traits().carries_l4_checksum);
  kernel.ns.MustRun("bash -c 'echo finished > /dev/udp/10.0.0.2/9'");
  const PacketPtr packet = NextUdp(kernel.end);
  REQUIRE(packet != nullptr);
  CHECK_FALSE(packet->offload.any());
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kGood);
}

TEST_CASE("what a TAP wire cannot hand to the kernel is counted") {
  Kernel kernel;
  PacketPtr segments = MakePacket(kernel.end.pool(), UdpFrame(Kernel::ToKernel()));
  segments->offload.segment = true;
  CHECK(kernel.end.SendOne(std::move(segments)));
  CHECK(kernel.end.Lost(DropReason::kUnsupportedOffload) == 1);

  CHECK(kernel.end.SendOne(MakePacket(kernel.end.pool(), Bytes(1000), 5)));
  CHECK(kernel.end.Lost(DropReason::kTooLong) == 1);
  CHECK(kernel.end.SendOne(MakePacket(kernel.end.pool(), Bytes(5))));
  CHECK(kernel.end.Lost(DropReason::kDeviceError) == 1);
  CHECK(kernel.end.out() == 0);
}

TEST_CASE("a jumbo frame from the kernel arrives in fragments") {
  const Namespace ns = Namespace::Make("tap");
  WireEnd end(MakeTapWire({.interface = "tap0", .netns = ns.path(), .max_frame = 9018}));
  ns.MustRun("ip link set tap0 mtu 9000 up; ip addr add 10.0.0.1/24 dev tap0");
  ns.MustRun("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev tap0");
  UntilUp(end);
  ns.Run("ping -c 1 -W 0.1 -s 8000 -p a5 10.0.0.2");
  PacketPtr packet = end.ReceiveOne();
  while (packet != nullptr && packet->length() < 8000) packet = end.ReceiveOne();
  REQUIRE(packet != nullptr);
  CHECK(packet->length() == 14 + 20 + 8 + 8000);
  CHECK_FALSE(packet->contiguous());
  CHECK(BytesOf(*packet).back() == 0xa5);
  REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kGood);
}

TEST_CASE("datagrams that a kernel leaves to be cut arrive in one packet, in large buffers or small") {
  const uint32_t buffer_size = GENERATE(256u, 2048u, 65536u);
  Kernel kernel({.uso = Want::kRequire}, {.packets = 1024, .buffer_size = buffer_size});
  kernel.SendUncut(46, 1400);
  PacketPtr packet = NextUdp(kernel.end);
  REQUIRE(packet != nullptr);
  CHECK(packet->length() == 42 + 46 * 1400);
  CHECK(packet->offload.segment);
  CHECK(packet->offload.mss == 1400);
  CHECK(packet->l4_checksum == ChecksumVerdict::kPartial);
  Bytes expected(46 * 1400);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<uint8_t>(i % 251);
  const Bytes frame = BytesOf(*packet);
  CHECK((Bytes(frame.begin() + 42, frame.end()) == expected));
  REQUIRE(FillL4Checksum(*packet, LayerSet::kOuter));
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kGood);
  packet.reset();
  CHECK(kernel.end.out() == 0);
}

TEST_CASE("with uso off the kernel cuts datagrams itself") {
  Kernel kernel({.uso = Want::kOff});
  kernel.SendUncut(3, 1400);
  for (int i = 0; i < 3; ++i) {
    const PacketPtr packet = NextUdp(kernel.end);
    REQUIRE(packet != nullptr);
    CHECK(packet->length() == 42 + 1400);
    CHECK_FALSE(packet->offload.segment);
  }
}

TEST_CASE("a frame that the pool has no buffers for is counted, and leaves none behind") {
  Kernel kernel({.uso = Want::kRequire}, {.packets = 16});
  kernel.SendUncut(46, 1400);
  kernel.SendUncut(2, 1400);
  const PacketPtr packet = NextUdp(kernel.end);
  REQUIRE(packet != nullptr);
  CHECK(packet->length() == 42 + 2 * 1400);
  CHECK(kernel.end.Lost(DropReason::kNoBuffer) == 1);
  CHECK(kernel.end.out() == 2);
}

TEST_CASE("a TAP wire tells which offloads are in force, and refuses those that contradict") {
  Kernel all({.uso = Want::kRequire});
  for (const ModeInForce& mode : all.end.wire().modes()) CHECK(mode.active);
  CHECK(all.end.wire().modes().size() == 3);
  CHECK(all.end.wire().traits().carries_tso);
  CHECK(all.end.wire().traits().uso_segments == 64);

  Kernel none({.checksums = Want::kOff});
  for (const ModeInForce& mode : none.end.wire().modes()) {
    CHECK_FALSE(mode.active);
    CHECK(mode.reason == (mode.wanted == Want::kOff ? "" : "checksums is off"));
  }
  CHECK_FALSE(none.end.wire().traits().carries_tso);
  CHECK(MakeTapWire({.interface = "tap0", .checksums = Want::kOff, .tso = Want::kRequire}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("the link of a TAP wire follows the interface, and a sleeper finds its rest when it is deleted") {
  Kernel kernel;
  kernel.ns.MustRun("ip link set tap0 down");
  UntilDown(kernel.end);
  CHECK_FALSE(kernel.end.SendOne(kernel.end.Numbered(1)));
  kernel.ns.MustRun("ip link set tap0 up");
  UntilUp(kernel.end);

  CHECK_FALSE(kernel.end.wire().gone());
  kernel.ns.MustRun("ip link del tap0");
  UntilDown(kernel.end);
  CHECK(kernel.end.wire().gone());
  CHECK(kernel.end.wire().link_detail() == "the interface is gone");
  CHECK(kernel.end.Receive().empty());
  CHECK(kernel.end.wire().Arm());
  CHECK_FALSE(Readable(kernel.end.wire().fd()));
  CHECK_FALSE(Readable(kernel.end.wire().service_fd()));
  CHECK(kernel.end.Send(0, 1) == 0);
}

TEST_CASE(
    "a TAP interface that was made to stay is attached to and outlives the wire, and another goes with it") {
  const Namespace ns = Namespace::Make("tap");
  ns.MustRun("ip tuntap add mode tap name stays");
  {
    WireEnd stays(MakeTapWire({.interface = "stays", .netns = ns.path()}));
    WireEnd goes(MakeTapWire({.interface = "goes", .netns = ns.path()}));
    CHECK(ns.Run("ip link show goes").ok());
  }
  CHECK(ns.Run("ip link show stays").ok());
  CHECK_FALSE(ns.Run("ip link show goes").ok());
}

TEST_CASE("a TAP that cannot be had is refused with the remedy") {
  const Namespace ns = Namespace::Make("tap");
  const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff});
  const auto refusal = [&](const TapWireOptions& options) {
    return (*MakeTapWire(options))->Open({.ring = 8, .pool = pool->get()});
  };
  WireEnd holder(MakeTapWire({.interface = "tap0", .netns = ns.path()}));
  const absl::Status busy = refusal({.interface = "tap0", .netns = ns.path()});
  CHECK(busy.code() == absl::StatusCode::kUnavailable);
  CHECK(ProblemOf(busy)->device == "tap tap0");
  CHECK_FALSE(refusal({.interface = "lo", .netns = ns.path()}).ok());
  CHECK(refusal({.interface = "tap1", .netns = "/no/such"}).code() == absl::StatusCode::kNotFound);

  Process other = Process::Fork(
      [&] {
        if (setuid(65534) != 0) return 1;
        return refusal({.interface = "tap9"}).code() == absl::StatusCode::kPermissionDenied ? 0 : 2;
      },
      &ns);
  CHECK(other.Wait(absl::Seconds(10)) == 0);
}

}  // namespace sluice
