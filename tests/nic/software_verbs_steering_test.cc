// SPDX-License-Identifier: Apache-2.0
// Rules of the software verbs device, as ibv_create_flow(3) has them.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/nic/soft_nic.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::FlowSpec;
using testing::FrameSpec;
using testing::RawPair;
using testing::Refusal;
using testing::SoftCable;
using testing::SoftNic;
using testing::TcpFrame;
using testing::UdpFrame;
using testing::VxlanFrame;

constexpr char kMulticast[] = "01:00:5e:00:00:01";

// A sender, and receivers beside each other at the far end.
struct Crowd {
  explicit Crowd(const SoftwareVerbsOptions& options = {})
      : cable(options, options), sender(cable.left), a(cable.right), b(cable.right) {
    for (RawPair* pair : {&a, &b}) {
      for (size_t i = 0; i < 16; ++i) REQUIRE(pair->PostReceive(i) == 0);
    }
  }
  void Send(const Bytes& frame) { REQUIRE(sender.Send(frame) == 0); }
  // How many frames each has got since the last time.
  std::pair<size_t, size_t> Got() {
    const size_t first = a.Receive().size();
    const size_t second = b.Receive().size();
    return {first + a.Receive().size(), second};
  }

  SoftCable cable;
  RawPair sender, a, b;
};

using Got = std::pair<size_t, size_t>;

// What each kind of spec has to match, and what it must not.
struct SpecCase {
  const char* name;
  FlowSpec rule;
  Bytes match;
  Bytes other;
};

template <typename Spec, typename Fill>
FlowSpec One(uint32_t type, Fill fill) {
  Spec spec{};
  fill(spec);
  return FlowSpec().With(spec, type);
}

std::vector<SpecCase> SpecCases() {
  using Ipv4 = ibv_flow_spec_ipv4_ext;
  using Ipv6 = ibv_flow_spec_ipv6;
  using Ports = ibv_flow_spec_tcp_udp;
  using Tunnel = ibv_flow_spec_tunnel;
  using Ethernet = ibv_flow_spec_eth;
  const Bytes plain = UdpFrame({});
  return {
      {"destination", FlowSpec().Destination("02:00:00:00:00:02"), plain,
       UdpFrame({.destination_mac = "02:00:00:00:00:03"})},
      {"VLAN",
       One<Ethernet>(IBV_FLOW_SPEC_ETH,
                     [](Ethernet& spec) {
                       spec.val.vlan_tag = htobe16(5);
                       spec.mask.vlan_tag = htobe16(0xfff);
                     }),
       UdpFrame({.vlans = {0xa005}}), UdpFrame({.vlans = {6}})},
      {"Ethertype",
       One<Ethernet>(IBV_FLOW_SPEC_ETH,
                     [](Ethernet& spec) {
                       spec.val.ether_type = htobe16(0x86dd);
                       spec.mask.ether_type = 0xffff;
                     }),
       UdpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"}), plain},
      {"IPv4 network",
       One<Ipv4>(IBV_FLOW_SPEC_IPV4_EXT,
                 [](Ipv4& spec) {
                   spec.val.dst_ip = htobe32(0x0a000000);
                   spec.mask.dst_ip = htobe32(0xff000000);
                 }),
       plain, UdpFrame({.destination = "11.0.0.2"})},
      {"IPv4 TTL",
       One<Ipv4>(IBV_FLOW_SPEC_IPV4_EXT,
                 [](Ipv4& spec) {
                   spec.val.ttl = 9;
                   spec.mask.ttl = 0xff;
                 }),
       UdpFrame({.ttl = 9}), plain},
      {"IPv6",
       One<Ipv6>(IBV_FLOW_SPEC_IPV6,
                 [](Ipv6& spec) {
                   spec.val.dst_ip[15] = 2;
                   spec.mask.dst_ip[15] = 0xff;
                 }),
       UdpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"}),
       UdpFrame({.source = "2001:db8::1", .destination = "2001:db8::3"})},
      {"UDP port", FlowSpec().UdpTo(53), UdpFrame({.destination_port = 53}),
       TcpFrame({.destination_port = 53})},
      {"TCP at all", FlowSpec().With(Ports{}, IBV_FLOW_SPEC_TCP), TcpFrame({}), plain},
      {"VXLAN",
       One<Tunnel>(IBV_FLOW_SPEC_VXLAN_TUNNEL,
                   [](Tunnel& spec) {
                     spec.val.tunnel_id = htobe32(42);
                     spec.mask.tunnel_id = htobe32(0xffffff);
                   }),
       VxlanFrame({}, plain, 42), VxlanFrame({}, plain, 43)},
      {"inside VXLAN",
       FlowSpec()
           .With(Tunnel{}, IBV_FLOW_SPEC_VXLAN_TUNNEL)
           .With(Ports{}, IBV_FLOW_SPEC_INNER | IBV_FLOW_SPEC_TCP),
       VxlanFrame({}, TcpFrame({})), VxlanFrame({}, plain)},
  };
}

TEST_CASE("a rule of each kind of spec gets what it names, and nothing else") {
  for (const SpecCase& one : SpecCases()) {
    INFO(one.name);
    Crowd crowd;
    crowd.a.Steer(one.rule);
    crowd.Send(one.match);
    CHECK(crowd.Got() == Got{1, 0});
    crowd.Send(one.other);
    CHECK(crowd.Got() == Got{0, 0});
  }
}

TEST_CASE("the smaller priority wins, whichever rule is older, and its removal lets the next one in") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec(IBV_FLOW_ATTR_NORMAL, 2).UdpTo(2000));
  FlowSpec first = FlowSpec(IBV_FLOW_ATTR_NORMAL, 1).UdpTo(2000);
  ibv_flow* const rule = ibv_create_flow(crowd.b.qp(), first.attr());
  REQUIRE(rule != nullptr);
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{0, 1});
  REQUIRE(ibv_destroy_flow(rule) == 0);
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{1, 0});
}

TEST_CASE("the same rule on two queue pairs gives each a copy") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec().UdpTo(2000));
  crowd.b.Steer(FlowSpec().UdpTo(2000));
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{1, 1});
}

TEST_CASE("copies go to all at once: a full queue holds the frame back for the others too") {
  ManualClock clock;
  SoftCable cable({}, {.clock = &clock});
  RawPair sender(cable.left), a(cable.right), b(cable.right);
  a.Steer(FlowSpec().UdpTo(2000));
  b.Steer(FlowSpec().UdpTo(2000));
  REQUIRE(a.PostReceive(0) == 0);
  REQUIRE(sender.Send(UdpFrame({})) == 0);
  CHECK(a.Receive().empty());
  REQUIRE(b.PostReceive(0) == 0);
  CHECK(b.Receive().size() == 1);
  CHECK(a.Receive().size() == 1);
}

TEST_CASE("a rule that does not trap passes the frame on to the next priority") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec(IBV_FLOW_ATTR_NORMAL, 0, IBV_FLOW_ATTR_FLAGS_DONT_TRAP).UdpTo(2000));
  crowd.b.Steer(FlowSpec(IBV_FLOW_ATTR_NORMAL, 1).UdpTo(2000));
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{1, 1});
}

TEST_CASE("a default rule gets what no other took, and that of multicast only multicast") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec().UdpTo(53));
  crowd.b.Steer(FlowSpec(IBV_FLOW_ATTR_MC_DEFAULT));
  crowd.Send(UdpFrame({.destination_port = 53}));
  crowd.Send(UdpFrame({.destination_mac = kMulticast}));
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{1, 1});
  crowd.a.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{1, 0});
}

TEST_CASE("a sniffer gets a copy of what is received and of what is sent, and takes it from nobody") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec(IBV_FLOW_ATTR_SNIFFER));
  crowd.b.Steer(FlowSpec().UdpTo(2000));
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{1, 1});
  REQUIRE(crowd.b.Send(UdpFrame({})) == 0);
  CHECK(crowd.Got() == Got{1, 0});
}

TEST_CASE("a rule that drops, drops and is counted") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  crowd.b.Steer(FlowSpec().UdpTo(2000).Drop());
  crowd.Send(UdpFrame({}));
  CHECK(crowd.Got() == Got{0, 0});
  CHECK(crowd.cable.right.stats().drops[DropReason::kRule] == 1);
}

TEST_CASE("a rule of egress drops what is sent, before it is on the wire") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  crowd.sender.Steer(FlowSpec(IBV_FLOW_ATTR_NORMAL, 0, IBV_FLOW_ATTR_FLAGS_EGRESS).UdpTo(2000).Drop());
  crowd.Send(UdpFrame({}));
  crowd.Send(UdpFrame({.destination_port = 1}));
  CHECK(crowd.Got() == Got{1, 0});
  CHECK(crowd.cable.left.stats().drops[DropReason::kRule] == 1);
}

TEST_CASE(
    "multicast that is sent reaches the port's own rules, unicast does not, and it can be switched off") {
  const bool loopback = GENERATE(true, false);
  SoftNic nic({.multicast_loopback = loopback});
  RawPair pair(nic);
  pair.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  for (size_t i = 0; i < 4; ++i) REQUIRE(pair.PostReceive(i) == 0);
  REQUIRE(pair.Send(UdpFrame({.destination_mac = kMulticast})) == 0);
  REQUIRE(pair.Send(UdpFrame({})) == 0);
  CHECK(pair.Receive().size() == (loopback ? 1u : 0u));
}

TEST_CASE("a queue pair that blocks its own multicast gets that of others") {
  Crowd crowd;
  RawPair deaf(crowd.cable.right, {.block_own_multicast = true});
  for (RawPair* pair : {&crowd.a, &deaf}) pair->Steer(FlowSpec(IBV_FLOW_ATTR_MC_DEFAULT));
  for (size_t i = 0; i < 4; ++i) REQUIRE(deaf.PostReceive(i) == 0);
  REQUIRE(crowd.b.Send(UdpFrame({.destination_mac = kMulticast})) == 0);
  CHECK(crowd.Got() == Got{1, 0});
  CHECK(deaf.Receive().empty());
  crowd.Send(UdpFrame({.destination_mac = kMulticast}));
  CHECK(crowd.Got() == Got{1, 0});
  CHECK(deaf.Receive().size() == 1);
}

TEST_CASE("a frame whose lengths are false is steered by its headers all the same") {
  Crowd crowd;
  crowd.a.Steer(FlowSpec().UdpTo(2000));
  Bytes frame = UdpFrame({});
  frame[16] = 0x20;  // of IPv4: longer than the frame
  crowd.Send(frame);
  CHECK(crowd.Got() == Got{1, 0});
}

TEST_CASE("rules that nobody can keep are refused, each with its errno") {
  SoftNic nic;
  RawPair pair(nic);
  const auto refusal = [&](FlowSpec spec) {
    return Refusal([&] { return ibv_create_flow(pair.qp(), spec.attr()); });
  };
  CHECK(refusal(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT, 0, IBV_FLOW_ATTR_FLAGS_DONT_TRAP)) == EINVAL);
  CHECK(refusal(FlowSpec(IBV_FLOW_ATTR_NORMAL, 0, 1u << 7)) == EINVAL);
  CHECK(refusal(FlowSpec().UdpTo(1).UdpTo(2)) == EINVAL);
  CHECK(refusal(FlowSpec().UdpTo(1).With(ibv_flow_spec_tcp_udp{}, IBV_FLOW_SPEC_TCP)) == EINVAL);
  CHECK(refusal(FlowSpec().With(ibv_flow_spec_esp{}, IBV_FLOW_SPEC_ESP)) == EOPNOTSUPP);
  FlowSpec other_port;
  other_port.attr()->port = 2;
  CHECK(refusal(other_port) == EINVAL);
  FlowSpec cut;
  cut.UdpTo(5);
  const uint16_t shorter_than_its_head = 2;
  std::memcpy(reinterpret_cast<char*>(cut.attr() + 1) + offsetof(ibv_flow_spec_tcp_udp, size),
              &shorter_than_its_head, sizeof(shorter_than_its_head));
  CHECK(refusal(cut) == EINVAL);
}

TEST_CASE("more rules than the hardware has are refused until one goes") {
  SoftNic nic({.hardware = SoftwareVerbsHardware::Poor()});
  RawPair pair(nic, {.requests = 8, .pieces = 1, .inline_bytes = 0});
  for (uint16_t i = 0; i < 7; ++i) pair.Steer(FlowSpec().UdpTo(i));
  FlowSpec more = FlowSpec().UdpTo(100);
  ibv_flow* const eighth = ibv_create_flow(pair.qp(), more.attr());
  REQUIRE(eighth != nullptr);
  CHECK(Refusal([&] { return ibv_create_flow(pair.qp(), more.attr()); }) == ENOMEM);
  REQUIRE(ibv_destroy_flow(eighth) == 0);
  pair.Steer(more);
}

}  // namespace
}  // namespace sluice
