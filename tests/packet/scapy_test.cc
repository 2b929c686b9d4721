// SPDX-License-Identifier: Apache-2.0
// Random frames made by scapy, which fills lengths and checksums by itself.
#include <catch2/catch.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sluice/packet/checksum.h"
#include "tests/packet/burst_twin.h"
#include "tests/packet/parsed_packet.h"
#include "tests/support/layers_text.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/skip.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct ScapyFrame {
  Bytes bytes;
  std::string layers;
};

// The first python that has scapy: Debian's package serves Debian's python.
std::string PythonWithScapy() {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (RunCommand(absl::StrCat(python, " -c 'import scapy'")).ok()) return python;
  }
  SkipTest("needs scapy: install python3-scapy");
}

std::vector<ScapyFrame> ScapyFrames(uint64_t seed, int count) {
  const CommandResult result =
      RunCommand(absl::StrCat(PythonWithScapy(), " -B " SLUICE_SOURCE_DIR "/tests/packet/scapy_frames.py ",
                              seed, " ", count, " 2>/dev/null"),
                 nullptr, absl::Minutes(2));
  REQUIRE(result.ok());
  std::vector<ScapyFrame> frames;
  for (const absl::string_view line : absl::StrSplit(result.output, '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, '\t');
    const std::string bytes = absl::HexStringToBytes(parts.first);
    frames.push_back({Bytes(bytes.begin(), bytes.end()), parts.second});
  }
  REQUIRE(frames.size() == static_cast<size_t>(count));
  return frames;
}

void AddNames(const LayerOffsets& at, std::vector<std::string>& names) {
  constexpr const char* kL3Names[] = {"", "ipv4", "ipv6", "arp", ""};
  constexpr const char* kL4Names[] = {"", "tcp", "udp", "icmp", "icmpv6", "", ""};
  const std::string l3 = kL3Names[static_cast<size_t>(at.l3_type)];
  const std::string l4 = kL4Names[static_cast<size_t>(at.l4_type)];
  if (!l3.empty()) names.push_back(absl::StrCat(l3, "@", at.l3));
  if (!l4.empty()) names.push_back(absl::StrCat(l4, "@", at.l4));
}

std::string Names(const Layers& layers) {
  std::vector<std::string> names;
  AddNames(layers.outer, names);
  if (layers.tunnel != TunnelType::kNone) {
    if (layers.inner_l2 != layers.inner.l3) names.push_back(absl::StrCat("eth@", layers.inner_l2));
    AddNames(layers.inner, names);
  }
  return absl::StrJoin(names, " ");
}

bool HasL4(const LayerOffsets& at) { return at.l4_type != L4Type::kNone && at.l4_type != L4Type::kOther; }

// Every checksum that scapy filled verifies, and comes out the same when it is filled here.
void CheckChecksums(ParsedPacket& packet, LayerSet set) {
  const LayerOffsets& at = Select(packet->layers(), set);
  if (at.l3_type == L3Type::kIpv4) CHECK(VerifyIpv4Checksum(*packet, set) == ChecksumVerdict::kGood);
  if (HasL4(at)) CHECK(VerifyL4Checksum(*packet, set) == ChecksumVerdict::kGood);
  FillIpv4Checksum(*packet, set);
  StartL4Checksum(*packet, set);
  FillL4Checksum(*packet, set);
}

// A flipped bit of payload, which no other field depends on, is found; in a tunnel by both checksums that
// cover it.
void CheckFlippedBit(ParsedPacket& packet, Random& random) {
  const LayerOffsets& at = Select(packet->layers(), LayerSet::kInnermost);
  if (!HasL4(at) || at.payload >= packet->head_length()) return;
  packet->data()[at.payload + Below(random, packet->head_length() - at.payload)] ^=
      static_cast<uint8_t>(1u << Below(random, 8));
  CHECK(VerifyL4Checksum(*packet, LayerSet::kInnermost) == ChecksumVerdict::kBad);
  if (HasL4(packet->layers().outer))
    CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kBad);
}

TEST_CASE("frames that scapy makes are parsed in bursts as each is alone") {
  const std::vector<ScapyFrame> made = ScapyFrames(PrintedSeed() % 1'000'000, 320);
  BurstTwin twin;
  for (size_t first = 0; first < made.size(); first += Burst::kCapacity) {
    std::vector<Bytes> frames;
    for (size_t i = 0; i < Burst::kCapacity; ++i) frames.push_back(made[first + i].bytes);
    CHECK(twin.Differences(frames) == "");
  }
}

TEST_CASE("frames that scapy makes are dissected, and their checksums computed, as scapy does") {
  int tunnels = 0, tagged = 0;
  const uint64_t seed = PrintedSeed();
  Random random(seed);
  for (const ScapyFrame& frame : ScapyFrames(seed % 1'000'000, 300)) {
    ParsedPacket packet(frame.bytes);
    INFO(absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(frame.bytes.data()), frame.bytes.size())));
    INFO(LayersText(packet.verdict(), packet->layers()));
    REQUIRE(packet.verdict() == ParseVerdict::kOk);
    REQUIRE(packet->layers().inner_verdict == ParseVerdict::kOk);
    CHECK(Names(packet->layers()) == frame.layers);
    CheckChecksums(packet, LayerSet::kInnermost);
    CheckChecksums(packet, LayerSet::kOuter);
    CHECK(packet.bytes() == frame.bytes);
    CheckFlippedBit(packet, random);
    tunnels += packet->layers().tunnel != TunnelType::kNone;
    tagged += packet->layers().vlan_tags != 0;
  }
  CHECK(tunnels > 100);
  CHECK(tagged > 100);
}

}  // namespace
}  // namespace sluice
