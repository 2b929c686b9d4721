// SPDX-License-Identifier: Apache-2.0
// Real captures through reader, parser and checksums, judged by tshark.
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/packet/capture_file.h"
#include "sluice/packet/checksum.h"
#include "tests/packet/parsed_packet.h"
#include "tests/support/layers_text.h"
#include "tests/support/test_data.h"
#include "tests/support/tshark.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr int kMostFrames = 400;  // of one file

struct Frame {
  Bytes bytes;
  uint32_t original_length = 0;
  bool whole() const { return bytes.size() == original_length; }
};

std::vector<Frame> EthernetFrames(const std::string& path) {
  std::vector<Frame> frames;
  auto reader = CaptureReader::Open(path);
  if (!reader.ok()) return frames;
  CaptureRecord record;
  while (frames.size() < kMostFrames && (*reader)->Read(record).value_or(false)) {
    if (record.link_type != kLinkEthernet) return {};
    frames.push_back({Bytes(record.bytes.begin(), record.bytes.end()), record.original_length});
  }
  return frames;
}

// A layer that both know: its name and place, and the length of its header where that varies.
struct Layer {
  std::string name;
  ChecksumVerdict ours = ChecksumVerdict::kUnknown;
  TsharkChecksum theirs = TsharkChecksum::kNone;
};

std::string Names(const std::vector<Layer>& layers) {
  return absl::StrJoin(layers, " ", [](std::string* out, const Layer& layer) { *out += layer.name; });
}

void AddOurs(const Packet& packet, LayerSet set, std::vector<Layer>& layers) {
  constexpr const char* kL3Names[] = {"", "ip", "ipv6", "arp", ""};
  constexpr const char* kL4Names[] = {"", "tcp", "udp", "icmp", "icmpv6", "", ""};
  const LayerOffsets& at = Select(packet.layers(), set);
  const std::string l3 = kL3Names[static_cast<size_t>(at.l3_type)];
  const std::string l4 = kL4Names[static_cast<size_t>(at.l4_type)];
  if (!l3.empty()) layers.push_back({absl::StrCat(l3, "@", at.l3), VerifyIpv4Checksum(packet, set)});
  if (l4.empty()) return;
  layers.push_back({absl::StrCat(l4, "@", at.l4, "+", at.payload - at.l4), VerifyL4Checksum(packet, set)});
}

std::vector<Layer> Ours(const Packet& packet) {
  const Layers& found = packet.layers();
  std::vector<Layer> layers;
  AddOurs(packet, LayerSet::kOuter, layers);
  if (found.tunnel == TunnelType::kNone) return layers;
  if (found.inner_l2 != found.inner.l3) layers.push_back({absl::StrCat("eth@", found.inner_l2)});
  AddOurs(packet, LayerSet::kInner, layers);
  return layers;
}

std::vector<Layer> Theirs(const DissectedFrame& frame) {
  std::vector<Layer> layers;
  for (const DissectedLayer& layer : frame.layers) {
    const std::string at = absl::StrCat(layer.name, "@", layer.position);
    const bool inner_ethernet = layer.name == "eth" && layer.position != 0;
    const bool l3 = layer.name == "ip" || layer.name == "ipv6" || layer.name == "arp";
    const bool fixed = layer.name == "udp" || layer.name == "icmp" || layer.name == "icmpv6";
    if (inner_ethernet || l3) layers.push_back({at, {}, layer.checksum});
    if (layer.name == "tcp") layers.push_back({absl::StrCat(at, "+", layer.size), {}, layer.checksum});
    if (fixed) layers.push_back({absl::StrCat(at, "+8"), {}, layer.checksum});
  }
  return layers;
}

bool StartsWith(const std::vector<Layer>& longer, const std::vector<Layer>& shorter) {
  return longer.size() >= shorter.size() &&
         std::equal(shorter.begin(), shorter.end(), longer.begin(),
                    [](const Layer& a, const Layer& b) { return a.name == b.name; });
}

// tshark 4.0 gives up where a length field of zero stands for more than 64 KiB.
bool IsBigTcp(const Frame& frame) { return frame.whole() && frame.original_length > 65535; }

bool HasZeroIpLength(const Frame& frame) { return frame.bytes[16] == 0 && frame.bytes[17] == 0; }

// Whether the layers may differ as they do. tshark looks into every tunnel in a tunnel, into IP in IP, and reads the ports
// of a first fragment.
bool Agree(const Frame& frame, ParseVerdict verdict, bool fragment, const DissectedFrame& judged,
           const std::vector<Layer>& ours, const std::vector<Layer>& theirs) {
  // It also takes an IPv4 length of zero for segmentation offload at any size; on a wire that is no length.
  if (verdict == ParseVerdict::kMalformed) return judged.error || HasZeroIpLength(frame);
  if (verdict == ParseVerdict::kTruncated) return StartsWith(theirs, ours);
  if (IsBigTcp(frame)) return StartsWith(ours, theirs);
  if (!StartsWith(theirs, ours)) return false;
  if (ours.size() == theirs.size() || fragment) return true;
  const std::string next = theirs[ours.size()].name;
  return next.substr(0, 2) == "ip" || next.substr(0, 3) == "eth";
}

bool SameChecksum(const Layer& ours, const Layer& theirs) {
  switch (theirs.theirs) {
    case TsharkChecksum::kGood:
      return ours.ours == ChecksumVerdict::kGood;
    case TsharkChecksum::kBad:
    case TsharkChecksum::kIllegal:
      return ours.ours == ChecksumVerdict::kBad;
    case TsharkChecksum::kNotPresent:
      return ours.ours == ChecksumVerdict::kUnknown;
    default:
      return true;  // it did not look
  }
}

struct Tally {
  int frames = 0;
  int good = 0;
  int bad = 0;
  int malformed = 0;

  void Count(const Layer& theirs) {
    good += theirs.theirs == TsharkChecksum::kGood;
    bad += theirs.theirs == TsharkChecksum::kBad;
  }
};

void CheckFrame(const Frame& frame, const DissectedFrame& judged, Tally& tally) {
  ParsedPacket packet(frame.bytes);
  const ParseVerdict verdict = Parse(absl::MakeConstSpan(packet->data(), packet->head_length()),
                                     frame.original_length, packet->layers());
  const std::vector<Layer> theirs = Theirs(judged);
  const std::vector<Layer> ours = Ours(*packet);
  INFO("frame " << tally.frames + 1 << ": " << LayersText(verdict, packet->layers()));
  INFO("ours:   " << Names(ours));
  INFO("theirs: " << Names(theirs));
  const bool fragment = Select(packet->layers(), LayerSet::kInnermost).l4_type == L4Type::kFragment;
  CHECK(Agree(frame, verdict, fragment, judged, ours, theirs));
  ++tally.frames;
  tally.malformed += verdict == ParseVerdict::kMalformed;
  if (verdict != ParseVerdict::kOk || !frame.whole()) return;
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    CHECK(SameChecksum(ours[i], theirs[i]));
    tally.Count(theirs[i]);
  }
}

Tally CheckFolder(const std::string& folder) {
  Tally tally;
  for (const std::string& file : TestDataFiles("pcap/" + folder)) {
    const std::vector<Frame> frames = EthernetFrames(file);
    if (frames.empty()) continue;
    INFO(file);
    const std::vector<DissectedFrame> judged = Dissect(file, kMostFrames);
    REQUIRE(judged.size() >= frames.size());
    const int before = tally.frames;
    for (size_t i = 0; i < frames.size(); ++i) CheckFrame(frames[i], judged[i], tally);
    CHECK(tally.frames > before);
  }
  return tally;
}

TEST_CASE("tunnels are dissected as tshark dissects them") {
  const Tally tally = CheckFolder("overlay");
  CHECK(tally.frames > 300);
  CHECK(tally.good > 300);
  CHECK(tally.bad > 0);
}

TEST_CASE("TCP is dissected as tshark dissects it") {
  const Tally tally = CheckFolder("tcp");
  CHECK(tally.frames > 600);
  CHECK(tally.good > 600);
}

TEST_CASE("frames of segmentation offload are dissected as tshark dissects them") {
  CHECK(CheckFolder("gso").frames == 20);
}

TEST_CASE("attacks are dissected as tshark dissects them") { CHECK(CheckFolder("attack").good > 600); }

TEST_CASE("frames that crashed a parser are dissected as tshark dissects them") {
  const Tally tally = CheckFolder("malformed");
  CHECK(tally.frames > 30);
  CHECK(tally.malformed > 0);
}

}  // namespace
}  // namespace sluice
