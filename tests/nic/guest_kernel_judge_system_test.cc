// SPDX-License-Identifier: Apache-2.0
// A guest's kernel judges what the library joins, puts into tunnels and cuts: it has the Geneve, VXLAN and VLAN
// devices that the machine's own may lack.
#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/nic/guest_tunnel.h"
#include "tests/support/frames.h"
#include "tests/support/guest.h"
#include "tests/support/netns.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::FrameSpec;
using testing::GeneveFrame;
using testing::Guest;
using testing::GuestTunnel;
using testing::Namespace;
using testing::SpoiledField;
using testing::SpoilPlan;
using testing::VxlanFrame;

struct Variant {
  std::string name;
  std::string device;  // how the guest makes its tun0
  Bytes headers;
  uint16_t vlan_tci = 0;
  bool ipv6 = false;  // inside
};

constexpr uint32_t kVni = 7;

FrameSpec Outer4(bool udp_checksum) {
  return {.source = "192.0.2.1",
          .destination = "192.0.2.2",
          .source_port = 40000,
          .zero_udp_checksum = !udp_checksum};
}
FrameSpec Outer6() { return {.source = "2001:db8::1", .destination = "2001:db8::2", .source_port = 40000}; }
// Of 4 and of 8 bytes, not critical, so that no guest has to know them (RFC 8926, 3.5).
Bytes TwoOptions() { return {1, 2, 0x11, 1, 1, 2, 3, 4, 1, 2, 0x12, 2, 5, 6, 7, 8, 9, 10, 11, 12}; }

Variant Geneve4() {
  return {.name = "Geneve with options over IPv4",
          .device = "type geneve id 7 remote 192.0.2.1",
          .headers = GeneveFrame(Outer4(true), {}, TwoOptions(), kVni)};
}
Variant Geneve6() {
  return {.name = "Geneve with options over IPv6, IPv6 inside",
          .device = "type geneve id 7 remote 2001:db8::1",
          .headers = GeneveFrame(Outer6(), {}, TwoOptions(), kVni),
          .ipv6 = true};
}
Variant Vxlan() {
  return {.name = "VXLAN without UDP checksums",
          .device = "type vxlan id 7 remote 192.0.2.1 dstport 4789",
          .headers = VxlanFrame(Outer4(false), {}, kVni)};
}
Variant Vlan() {
  return {.name = "VLAN 42, priority 5",
          .device = "link eth0 type vlan id 42",
          .headers = {},
          .vlan_tci = 5 << 13 | 42};
}

using Counters = std::map<std::string, uint64_t>;

// What nstat(8) prints: a line for each counter with its name first.
Counters CountersIn(const std::string& text) {
  Counters counters;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    if (uint64_t value = 0; words >> name >> value) counters[name] = value;
  }
  return counters;
}

struct Outcome {
  std::string verdict;         // of the guest's program, on the bytes
  Counters errors;             // that its kernel counted meanwhile
  uint64_t retransmitted = 0;  // segments, by the sender
  CoalesceStats coalesced;
  uint64_t dropped = 0;  // by the library
};

// sender's kernel ── GuestTunnel ── guest0 ── eth0 of a guest
class Judge {
 public:
  Judge() : host_(HostWithTap()), guest_({.devices = kNic, .where = &host_}) {
    guest_.MustRun(
        "ip addr add 192.0.2.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 nodad; ip link set eth0 up; "
        "for a in 192.0.2.1 2001:db8::1; do ip neigh add $a lladdr 02:00:00:00:00:01 dev eth0; done; "
        "stream sink 5000 >/dev/null 2>&1 &");
  }

  // A stream of `bytes` from a new kernel into the guest's.
  Outcome Carry(const Variant& variant, uint64_t bytes, const SpoilPlan& spoil = {}) {
    const std::string net = variant.ipv6 ? "fd00::" : "10.1.0.";
    const std::string mask = variant.ipv6 ? "/64 nodad" : "/24";
    guest_.MustRun(absl::StrCat("ip link add tun0 ", variant.device, " && ip addr add ", net, 2, mask,
                                " dev tun0 && ip link set tun0 up"));
    const Namespace sender = Namespace::Make("sender");
    const Counters before = ErrorsSoFar();
    Outcome outcome;
    {
      GuestTunnel tunnel(sender, host_, "guest0",
                         {variant.headers, variant.vlan_tci, absl::StrCat(net, 1, mask), spoil});
      outcome.verdict = Send(sender, net + "2", bytes);
      outcome.coalesced = tunnel.coalesced();
      outcome.dropped = tunnel.drops().total();
    }
    for (const auto& [name, value] : ErrorsSoFar()) outcome.errors[name] = value - before.at(name);
    outcome.retransmitted = CountersIn(sender.MustRun("nstat -asz TcpRetransSegs")).at("TcpRetransSegs");
    guest_.MustRun("ip link del tun0");
    return outcome;
  }

 private:
  static Namespace HostWithTap() {
    Namespace host = Namespace::Make("host");
    host.MustRun("ip tuntap add guest0 mode tap vnet_hdr && ip link set guest0 up");
    return host;
  }
  static std::string Send(const Namespace& sender, const std::string& to, uint64_t bytes) {
    return sender.Run(absl::StrCat(Guest::StreamProgram(), " source ", to, " 5000 ", bytes), absl::Minutes(2))
        .output;
  }
  // Of the kernel, and of its tunnel or VLAN device, which refuses what is before IP.
  Counters ErrorsSoFar() {
    return CountersIn(
        guest_.MustRun("nstat -asz TcpInErrs TcpInCsumErrors UdpInErrors UdpInCsumErrors Udp6InErrors "
                       "Udp6InCsumErrors IpInHdrErrors IpExtInCsumErrors Ip6InHdrErrors; "
                       "echo tun0 $(cat /sys/class/net/tun0/statistics/rx_errors)"));
  }

  // Without offloads: the guest's kernel looks at each checksum itself, and leaves none of its own undone.
  static constexpr const char* kNic =
      "-netdev tap,id=n0,ifname=guest0,script=no,downscript=no "
      "-device virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,romfile=,csum=off,gso=off,guest_csum=off,"
      "guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_ecn=off";

  const Namespace host_;
  Guest guest_;
};

}  // namespace

TEST_CASE("a guest's Geneve, VXLAN and VLAN devices take what is joined and cut for them without one error") {
  constexpr uint64_t kBytes = 20'000'000;
  Judge judge;
  for (const Variant& variant : {Geneve4(), Geneve6(), Vxlan(), Vlan()}) {
    INFO(variant.name);
    const Outcome outcome = judge.Carry(variant, kBytes);
    CHECK(outcome.verdict == absl::StrCat("ok ", kBytes, "\n"));
    for (const auto& [name, errors] : outcome.errors) {
      INFO(name);
      CHECK(errors == 0);
    }
    CHECK(outcome.coalesced.joined > outcome.coalesced.packets / 2);
    CHECK(outcome.retransmitted < 100);  // of 14,000: an emulated guest may be late, and its TAP overflow
    CHECK(outcome.dropped == 0);
  }
}

TEST_CASE("a guest's kernel counts each frame of which one bit was spoiled on the way, and no other") {
  struct Spoiled {
    Variant variant;
    SpoiledField field;
    std::string counter;
  };
  const Spoiled kinds[] = {{Geneve4(), SpoiledField::kOuterIpv4, "IpInHdrErrors"},
                           {Geneve4(), SpoiledField::kOuterUdp, "UdpInCsumErrors"},
                           {Geneve6(), SpoiledField::kOuterUdp, "Udp6InCsumErrors"},
                           {Vxlan(), SpoiledField::kInnerIpv4, "IpInHdrErrors"},
                           {Vxlan(), SpoiledField::kTcpChecksum, "TcpInCsumErrors"},
                           {Vlan(), SpoiledField::kPayload, "TcpInCsumErrors"}};
  constexpr uint32_t kFrames = 3;
  constexpr uint64_t kBytes = 1'000'000;
  Judge judge;
  for (const auto& [variant, field, counter] : kinds) {
    INFO(variant.name << ", " << counter);
    const Outcome outcome = judge.Carry(variant, kBytes, {field, kFrames});
    CHECK(outcome.errors.at(counter) == kFrames);
    CHECK(outcome.retransmitted >= kFrames);
    CHECK(outcome.verdict == absl::StrCat("ok ", kBytes, "\n"));
  }
}

}  // namespace sluice
