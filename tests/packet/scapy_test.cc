// SPDX-License-Identifier: Apache-2.0
// Random frames made by scapy, which fills lengths and checksums by itself.
#include <array>
#include <catch2/catch.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/rss.h"
#include "tests/packet/burst_twin.h"
#include "tests/packet/parsed_packet.h"
#include "tests/packet/small_pool.h"
#include "tests/support/layers_text.h"
#include "tests/support/run_scapy.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;

struct ScapyFrame {
  Bytes bytes;
  std::string layers;
};

std::vector<ScapyFrame> ScapyFrames(uint64_t seed, int count) {
  std::vector<ScapyFrame> frames;
  for (const std::string& line : RunScapy(absl::StrCat("packet/scapy_frames.py ", seed, " ", count))) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, '\t');
    frames.push_back({FromHex(parts.first), parts.second});
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
    INFO(ToHex(frame.bytes));
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

// How receive-side scaling answers for some headers of a frame.
struct RssAnswer {
  std::string type;
  uint32_t hash = 0;
  QueueId queue{};
};

RssAnswer AnswerOf(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  RssAnswer answer{.type = parts.at(0)};
  int queue = 0;
  REQUIRE((absl::SimpleAtoi(parts.at(1), &answer.hash) && absl::SimpleAtoi(parts.at(2), &queue)));
  answer.queue = QueueId(static_cast<uint16_t>(queue));
  return answer;
}

struct RssFrame {
  Bytes bytes;
  std::array<RssAnswer, 2> outer;  // of a card that hashes ports, and of one that does not
  std::array<RssAnswer, 2> inner;
};

struct RssBurst {
  RssOptions options;
  std::vector<RssFrame> frames;
};

// As scapy_rss.py prints them.
std::vector<RssBurst> RssBursts(uint64_t seed, int count) {
  std::vector<RssBurst> bursts;
  for (const std::string& line : RunScapy(absl::StrCat("packet/scapy_rss.py ", seed, " ", count))) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words[0] == "frame") {
      bursts.back().frames.push_back({FromHex(words.at(1)),
                                      {AnswerOf(words.at(2)), AnswerOf(words.at(3))},
                                      {AnswerOf(words.at(4)), AnswerOf(words.at(5))}});
      continue;
    }
    RssOptions options{.key = FromHex(words.at(1)), .table = {}};
    for (const absl::string_view queue : absl::StrSplit(words.at(2), ',')) {
      int number = 0;
      REQUIRE(absl::SimpleAtoi(queue, &number));
      options.table.emplace_back(static_cast<uint16_t>(number));
    }
    bursts.push_back({std::move(options), {}});
  }
  return bursts;
}

const RssAnswer& AnswerFor(const RssFrame& frame, LayerSet which, size_t card) {
  const bool inside =
      which == LayerSet::kInner || (which == LayerSet::kInnermost && frame.inner[0].type != "none");
  return inside ? frame.inner[card] : frame.outer[card];
}

void CheckHashes(const RssBurst& from, size_t card, LayerSet which) {
  constexpr const char* kTypes[] = {"none", "ipv4", "ipv6", "ipv4tcp", "ipv6tcp", "ipv4udp", "ipv6udp"};
  RssOptions options = from.options;
  if (card == 1) options.types = {RssType::kIpv4, RssType::kIpv6};
  const RssConfig config = RssConfig::Create(options).value();
  const auto pool = SmallPool();
  Burst burst;
  for (const RssFrame& frame : from.frames) burst.Push(MakePacket(*pool, frame.bytes));
  for (Packet* packet : burst) REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  RssHashBurst(config, burst, which);
  for (size_t i = 0; i < burst.size(); ++i) {
    const RssAnswer& answer = AnswerFor(from.frames[i], which, card);
    INFO(ToHex(from.frames[i].bytes));
    CHECK(kTypes[static_cast<size_t>(burst[i].rss_type)] == answer.type);
    CHECK(burst[i].rss_hash == answer.hash);
    CHECK(config.QueueFor(burst[i].rss_hash) == answer.queue);
  }
}

TEST_CASE("bursts hash, and find their queues, as the fields that scapy reads of them say") {
  for (const RssBurst& burst : RssBursts(PrintedSeed() % 1'000'000, 8)) {
    REQUIRE(burst.frames.size() == Burst::kCapacity);
    for (const size_t card : {size_t{0}, size_t{1}}) {
      for (const LayerSet which : {LayerSet::kOuter, LayerSet::kInner, LayerSet::kInnermost}) {
        CheckHashes(burst, card, which);
      }
    }
  }
}

}  // namespace
}  // namespace sluice
