// SPDX-License-Identifier: Apache-2.0
// The kernel's own big frames, cut: each segment is right on the wire, and together they are the byte stream that went in.
#include <unistd.h>

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "sluice/packet/capture_file.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"
#include "tests/packet/small_pool.h"
#include "tests/support/frames.h"
#include "tests/support/test_data.h"
#include "tests/support/tshark.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr uint16_t kSize = 1448;

// The TCP frames of a capture that are longer than a segment. One has an IPv4 length of zero though its own would fit the
// field, which the parser takes for no length: it is left out.
std::vector<Bytes> BigFrames(const std::string& path) {
  std::vector<Bytes> frames;
  auto reader = CaptureReader::Open(path);
  if (!reader.ok()) return frames;
  CaptureRecord record;
  while ((*reader)->Read(record).value_or(false)) {
    const bool whole = record.link_type == kLinkEthernet && record.bytes.size() == record.original_length;
    Layers layers;
    const bool sound = whole && Parse(record.bytes, record.original_length, layers) == ParseVerdict::kOk;
    if (sound && record.bytes.size() > kSize) frames.emplace_back(record.bytes.begin(), record.bytes.end());
  }
  return frames;
}

Bytes PayloadOf(const Bytes& frame) {
  Layers layers;
  REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
  const LayerOffsets& at = Select(layers, LayerSet::kInnermost);
  REQUIRE(at.l4_type == L4Type::kTcp);
  return {frame.begin() + at.payload, frame.end()};
}

std::vector<Bytes> Cut(PacketPool& pool, const Bytes& frame) {
  Segmenter segmenter({.pool = &pool});
  PacketPtr big = MakePacket(pool, frame);
  REQUIRE(big != nullptr);
  REQUIRE(Parse(*big) == ParseVerdict::kOk);
  big->offload = {.l4_checksum = true, .segment = true, .mss = kSize};
  REQUIRE(segmenter.Begin(big) == std::nullopt);
  std::vector<Bytes> segments;
  while (!segmenter.done()) {
    Burst burst;
    segmenter.Next(burst);
    for (const Packet* segment : burst) segments.push_back(BytesOf(*segment));
  }
  return segments;
}

void CheckVerifies(const Bytes& frame) {
  auto pool = SmallPool({.packets = 4});
  const PacketPtr packet = MakePacket(*pool, frame);
  REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  CHECK(VerifyL4Checksum(*packet, LayerSet::kInnermost) == ChecksumVerdict::kGood);
  for (const LayerSet set : {LayerSet::kOuter, LayerSet::kInner}) {
    CHECK(VerifyIpv4Checksum(*packet, set) != ChecksumVerdict::kBad);
    CHECK(VerifyL4Checksum(*packet, set) != ChecksumVerdict::kBad);
  }
}

TEST_CASE(
    "frames of the kernel's segmentation offload are cut into right frames that carry the same stream") {
  auto pool = SmallPool({.packets = 1024});
  int frames = 0;
  for (const std::string& file : TestDataFiles("pcap/gso")) {
    for (const Bytes& frame : BigFrames(file)) {
      INFO(file);
      const std::vector<Bytes> segments = Cut(*pool, frame);
      Bytes stream;
      for (const Bytes& segment : segments) {
        CheckVerifies(segment);
        const Bytes payload = PayloadOf(segment);
        stream.insert(stream.end(), payload.begin(), payload.end());
      }
      CHECK((stream == PayloadOf(frame)));
      ++frames;
    }
  }
  CHECK(frames == 19);
  CHECK(pool->available() == 1024);
}

TEST_CASE("tshark finds no bad checksum, and nothing malformed, in what is cut from the kernel's frames") {
  const std::string path = absl::StrCat("/tmp/sluice-segments-", getpid(), ".pcapng");
  auto pool = SmallPool({.packets = 1024});
  auto writer = CaptureWriter::Create(path, {}).value();
  size_t written = 0;
  for (const std::string& file : TestDataFiles("pcap/gso")) {
    for (const Bytes& frame : BigFrames(file)) {
      for (const Bytes& segment : Cut(*pool, frame)) {
        const auto length = static_cast<uint32_t>(segment.size());
        REQUIRE(writer->Write({.timestamp = 0, .original_length = length, .bytes = segment}, "").ok());
        ++written;
      }
    }
  }
  REQUIRE(writer->Close().ok());
  const std::vector<DissectedFrame> judged = Dissect(path, 2000);
  unlink(path.c_str());
  REQUIRE(judged.size() == written);
  int good = 0;
  for (const DissectedFrame& frame : judged) {
    for (const DissectedLayer& layer : frame.layers) {
      CHECK(layer.checksum != TsharkChecksum::kBad);
      CHECK(layer.checksum != TsharkChecksum::kIllegal);
      good += layer.name == "tcp" && layer.checksum == TsharkChecksum::kGood;
    }
  }
  CHECK(good > 600);
}

}  // namespace
}  // namespace sluice
