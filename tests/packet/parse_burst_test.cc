// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/parse_burst.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <initializer_list>

#include "tests/packet/burst_twin.h"
#include "tests/support/frames.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;

const FrameSpec kIpv6 = {.source = "2001:db8::1", .destination = "2001:db8::2"};

// Frames that differ in what decides their layers.
std::vector<Bytes> Shapes() {
  std::vector<Bytes> shapes;
  for (const char* end : {"10.0.0.1", "2001:db8::1"}) {
    for (const std::vector<uint16_t>& vlans : {std::vector<uint16_t>{}, {1}, {1, 2}, {1, 2, 3}}) {
      const FrameSpec spec = {.vlans = vlans,
                              .outer_vlan_type = Ethertype::kServiceVlan,
                              .source = end,
                              .destination = end,
                              .tcp_options = Bytes(4 * vlans.size(), 1)};
      for (const Bytes& inner : {TcpFrame(spec), UdpFrame(spec), TcpFrame({}), UdpFrame(kIpv6)}) {
        shapes.insert(shapes.end(), {inner, VxlanFrame(spec, inner), GeneveFrame(spec, inner)});
      }
      shapes.insert(shapes.end(), {GeneveFrame(spec, TcpFrame({}), Bytes(8)), IcmpFrame(spec),
                                   GreFrame(spec, WithoutEthernet(TcpFrame({}))),
                                   VxlanGpeFrame(spec, TcpFrame({}), TunnelProtocol::kEthernet)});
    }
  }
  shapes.push_back(ArpFrame({}));
  shapes.push_back(UdpFrame({.flags_offset = Ipv4Header::kMoreFragments}));
  shapes.push_back(TcpFrame({.ip_options = Bytes(8, 1)}));
  for (const uint16_t port : std::initializer_list<uint16_t>{4788, 4791, 6080, 6082, 6634, 6636}) {
    shapes.push_back(UdpFrame({.destination_port = port}));
  }
  return shapes;
}

// As many alike make a run, and have the next ones tried as its continuation.
constexpr size_t kRun = 8;

// `count` frames, runs of the same with here and there another.
std::vector<Bytes> Mixture(Random& random, const std::vector<Bytes>& shapes, size_t count) {
  std::vector<Bytes> frames;
  const uint64_t others = 1 + Below(random, 20);  // about one in as many
  size_t shape = Below(random, shapes.size());
  for (size_t i = 0; i < count; ++i) {
    if (Below(random, others) == 0) shape = Below(random, shapes.size());
    frames.push_back(shapes[shape]);
  }
  return frames;
}

TEST_CASE("a burst of one shape is parsed as its packets are, at each level and for each layer") {
  BurstTwin twin;
  for (const Bytes& frame : Shapes()) CHECK(twin.Differences(std::vector<Bytes>(2 * kRun, frame)) == "");
}

TEST_CASE("bursts of any size and mixture are parsed as their packets are") {
  Random random(PrintedSeed());
  BurstTwin twin;
  const std::vector<Bytes> shapes = Shapes();
  for (size_t size = 0; size <= Burst::kCapacity; ++size) {
    CHECK(twin.Differences(Mixture(random, shapes, size)) == "");
  }
}

TEST_CASE("heads cut at every byte are parsed as Parse does, and never read past their end") {
  BurstTwin twin;
  for (const Bytes& frame :
       {TcpFrame({.tcp_options = Bytes(12, 1)}), UdpFrame(kIpv6), TcpFrame({.vlans = {1, 2}}),
        VxlanFrame({}, TcpFrame(kIpv6)), GeneveFrame(kIpv6, UdpFrame({}))}) {
    for (size_t length = 0; length <= frame.size(); ++length) {
      const Bytes cut = Cut(frame, length);
      std::vector<Bytes> frames(kRun + 1, frame);
      frames.insert(frames.end(), {cut, frame, cut});
      CHECK(twin.Differences(frames, frame.size()) == "");
      CHECK(twin.Differences(frames) == "");
    }
  }
}

// A run that a change ends is followed by packets that are parsed each by itself; with kRun of the first kind
// between, each change meets a run.
TEST_CASE("changes of each header byte are seen as Parse sees them, in a run and apart from one") {
  BurstTwin twin;
  for (const Bytes& frame : {TcpFrame({.vlans = {1}}), TcpFrame(kIpv6), UdpFrame(kIpv6),
                             VxlanFrame({}, TcpFrame({})), GeneveFrame(kIpv6, UdpFrame({}))}) {
    std::vector<Bytes> frames;
    for (size_t at = 12; at < frame.size() - 19; ++at) {
      for (int value = 0; value < 256; value += 15) {
        Bytes changed = frame;
        changed[at] = static_cast<uint8_t>(value);
        frames.insert(frames.end(), at % 3 == 0 ? kRun : 0, frame);
        frames.push_back(changed);
        if (frames.size() + kRun < Burst::kCapacity) continue;
        const std::string differences = twin.Differences(frames);
        if (!differences.empty()) FAIL(differences);
        frames.clear();
      }
    }
  }
}

TEST_CASE("random damage and lying lengths in bursts are seen as Parse sees them") {
  Random random(PrintedSeed());
  BurstTwin twin;
  const std::vector<Bytes> shapes = Shapes();
  for (int round = 0; round < 300; ++round) {
    std::vector<Bytes> frames = Mixture(random, shapes, 1 + Below(random, Burst::kCapacity));
    for (Bytes& frame : frames) {
      for (uint64_t n = Below(random, 3); n > 0; --n) {
        frame[Below(random, std::min<size_t>(frame.size(), 120))] = static_cast<uint8_t>(random());
      }
      if (Below(random, 4) == 0) frame = Cut(frame, Below(random, frame.size() + 1));
      if (Below(random, 4) == 0) frame.resize(frame.size() + Below(random, 30));
    }
    const size_t length = Below(random, 3) == 0 ? Below(random, 100'000) : 0;
    const std::string differences = twin.Differences(frames, length);
    if (!differences.empty()) FAIL(differences);
  }
}

TEST_CASE("what is expected of the next burst changes no answer") {
  Burst burst;
  ParsedBurst parsed;
  ParseBurst(burst, LayerSet::kOuter, parsed);
  BurstTwin twin;
  CHECK(twin.Differences(std::vector<Bytes>(kRun, VxlanFrame({}, TcpFrame({})))) == "");
  CHECK(twin.Differences(std::vector<Bytes>(kRun, TcpFrame({}))) == "");
  CHECK(twin.Differences(std::vector<Bytes>(kRun, TcpFrame({.vlans = {1}}))) == "");
  CHECK(twin.Differences({UdpFrame({.destination_port = 4789})}) == "");
  CHECK(twin.Differences({Bytes{}, TcpFrame({}), Bytes(13)}) == "");
}

}  // namespace
}  // namespace sluice
