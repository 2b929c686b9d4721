// SPDX-License-Identifier: Apache-2.0
// A kernel's VXLAN device as judge of what the library put into a tunnel and cut there: outer IP and UDP, inner TCP.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"
#include "tests/nic/kernel_bridge.h"
#include "tests/support/frames.h"
#include "tests/support/skip.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kOuterIp = sizeof(EthernetHeader);
constexpr uint32_t kOuterUdp = kOuterIp + sizeof(Ipv4Header);
constexpr uint32_t kOuter = kOuterUdp + sizeof(UdpHeader) + sizeof(VxlanHeader);
constexpr uint32_t kVni = 42;

// Puts each packet, cut or not, into the tunnel to the right kernel.
Stage Encapsulating(bool checksum) {
  Bytes outer = VxlanFrame({.source_mac = "02:00:00:00:00:01",
                            .destination_mac = "02:00:00:00:00:02",
                            .source = "192.168.0.1",
                            .destination = "192.168.0.2",
                            .zero_udp_checksum = !checksum},
                           UdpFrame({}), kVni);
  outer.resize(kOuter);
  return [outer](Burst& in, Burst& out) {
    for (Packet* packet : in) {
      std::copy(outer.begin(), outer.end(), packet->Prepend(kOuter));
      HeaderAt<Ipv4Header>(packet->data(), kOuterIp)->total_length =
          static_cast<uint16_t>(packet->length() - kOuterIp);
      HeaderAt<UdpHeader>(packet->data(), kOuterUdp)->length =
          static_cast<uint16_t>(packet->length() - kOuterUdp);
      packet->offload.outer_checksum = true;
    }
    std::swap(in, out);
  };
}

// Takes out what the right kernel sent, and drops what it says outside of the tunnel.
void Decapsulate(Burst& in, Burst& out) {
  while (!in.empty()) {
    PacketPtr packet = in.PopFront();
    if (Parse(*packet) != ParseVerdict::kOk || packet->layers().tunnel != TunnelType::kVxlan) continue;
    packet->TrimFront(packet->layers().inner_l2);
    out.Push(std::move(packet));
  }
}

std::string SetUpTunnel(const std::string& interface) {
  return "ip link set " + interface + " address 02:00:00:00:00:02 up; ip addr add 192.168.0.2/24 dev " +
         interface + "; ip neigh add 192.168.0.1 lladdr 02:00:00:00:00:01 dev " + interface +
         "; ip link add vxlan0 type vxlan id 42 dstport 4789 local 192.168.0.2 remote 192.168.0.1 dev " +
         interface + "; ip addr add 10.0.0.2/24 dev vxlan0; ip link set vxlan0 up";
}

bool KernelHasVxlan() {
  const Namespace somewhere = Namespace::Make("vxlan");
  return somewhere.Run("ip link add vxlan0 type vxlan id 1 dstport 4789").ok();
}

struct Tunnel {
  bool tap = false;       // on the right
  bool checksum = false;  // of outer UDP
};

BridgeOptions OptionsFor(const Tunnel& tunnel) {
  if (!KernelHasVxlan()) SkipTest("needs VXLAN in the kernel (CONFIG_VXLAN)");
  return {.right_is_tap = tunnel.tap,
          // The longest frame has to fit the outer length, too.
          .setup_left = "ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 mtu 1450 gso_max_size 60000",
          .setup_right = SetUpTunnel(tunnel.tap ? "tap0" : "eth0"),
          .to_right = Encapsulating(tunnel.checksum),
          .to_left = Decapsulate};
}

}  // namespace

TEST_CASE("big sends that the library puts into VXLAN and cuts reach a kernel's VXLAN device whole") {
  const Tunnel tunnel{.tap = GENERATE(false, true), .checksum = GENERATE(false, true)};
  CAPTURE(tunnel.tap, tunnel.checksum);
  const KernelBridge bridge(OptionsFor(tunnel));
  CheckWhole(bridge, SendStream(bridge, 8'000'000));
  CHECK(bridge.uncut() > 50);
  CHECK(bridge.MeanFrameAtRight() <= 1514);
}

TEST_CASE(
    "a VXLAN device counts checksums that were spoilt in the tunnel, or the outer ones that cover them") {
  const bool checksum = GENERATE(false, true);
  BridgeOptions options = OptionsFor({.checksum = checksum});
  options.around_right = Marring;
  const KernelBridge bridge(options);
  const Transfer transfer = SendStream(bridge, 2'000'000);
  CHECK(transfer.received == transfer.sent);  // TCP sends again
  CHECK(bridge.Counter(checksum ? "UdpInCsumErrors" : "TcpInCsumErrors") > 0);
}

}  // namespace sluice::testing
