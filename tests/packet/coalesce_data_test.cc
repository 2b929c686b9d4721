// SPDX-License-Identifier: Apache-2.0
// Traffic that nobody here made.
#include <catch2/catch.hpp>
#include <map>

#include "sluice/packet/capture_file.h"
#include "sluice/packet/parse.h"
#include "tests/packet/small_pool.h"
#include "tests/support/simple_coalescer.h"
#include "tests/support/test_data.h"

namespace sluice {
namespace {

using namespace sluice::testing;

// Whole frames only: a cut one has no payload to keep.
std::vector<Bytes> WholeFrames(const std::string& path) {
  std::vector<Bytes> frames;
  auto reader = CaptureReader::Open(path);
  CaptureRecord record;
  while (reader.ok()) {
    const absl::StatusOr<bool> more = (*reader)->Read(record);
    if (!more.ok() || !*more) break;
    if (record.bytes.size() != record.original_length || record.bytes.size() > 65535 + 14) continue;
    frames.emplace_back(record.bytes.begin(), record.bytes.end());
  }
  return frames;
}

// By flow, as those between flows have no order.
std::map<std::string, std::vector<Bytes>> ByFlow(const std::vector<Bytes>& frames) {
  std::map<std::string, std::vector<Bytes>> flows;
  for (const Bytes& frame : frames) {
    auto pool = SmallPool({.packets = 64});
    const PacketPtr packet = MakePacket(*pool, frame);
    Parse(*packet);
    FlowKey key;
    const bool known = ExtractInnerFlowKey(*packet, key) || ExtractFlowKey(*packet, key);
    flows[known ? key.ToString() : ""].push_back(frame);
  }
  return flows;
}

TEST_CASE("real TCP comes out of a coalescer, and cut again, as it went in") {
  uint64_t packets = 0;
  for (const std::string& file : TestDataFiles("pcap/tcp")) {
    INFO(file);
    const std::vector<Bytes> frames = WholeFrames(file);
    auto pool = SmallPool({.packets = 16384});
    CoalescerRig rig(*pool, {});
    rig.Add(frames);
    rig.FlushAll();
    std::vector<Bytes> undone;
    for (const Coalesced& one : rig.TakeOutput()) {
      for (const Bytes& frame : one.Undone()) undone.push_back(frame);
    }
    CHECK(ByFlow(undone) == ByFlow(frames));
    CHECK(rig.complaint() == "");
    packets += frames.size();
  }
  CHECK(packets > 100);
}

// The kernel captures what it hands to a device that segments: one big frame, its checksum yet to be made.
TEST_CASE("the kernel's big frames, cut, are coalesced into what they were") {
  size_t joined = 0;
  for (const std::string& file : TestDataFiles("pcap/gso")) {
    for (const Bytes& frame : WholeFrames(file)) {
      const Bytes whole = JoinFrames({frame});  // with its checksums
      Layers layers;
      if (Parse(whole, static_cast<uint32_t>(whole.size()), layers) != ParseVerdict::kOk) continue;
      const L4Type type = Select(layers, LayerSet::kInnermost).l4_type;
      if (whole.size() > 65535 || type != L4Type::kTcp) continue;
      for (const FixedIds ids : {FixedIds{}, FixedIds{.outer = true, .inner = true}}) {
        const std::vector<Bytes> segments = CutFrame(whole, 1398, ids);
        auto pool = SmallPool({.packets = 1024});
        CoalescerRig rig(*pool, {});
        rig.Add(segments);
        rig.FlushAll();
        const std::vector<Coalesced> output = rig.TakeOutput();
        INFO(file << ", " << segments.size() << " segments");
        REQUIRE(output.size() == 1);
        CHECK(output[0].bytes == whole);
        CHECK(output[0].Undone() == segments);
        joined += segments.size() > 1;
      }
    }
  }
  CHECK(joined >= 16);
}

}  // namespace
}  // namespace sluice
