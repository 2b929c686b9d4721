// SPDX-License-Identifier: Apache-2.0
// The offload path for every combination of what senders ask, ports can do and wires carry. What comes out at the end are
// the frames that a sender who asks for nothing would have sent, and no wire sees a wrong one.
#include <catch2/catch.hpp>

#include "sluice/packet/capture_file.h"
#include "tests/nic/offload_path.h"
#include "tests/support/frame_judge.h"
#include "tests/support/frame_train.h"
#include "tests/support/tshark.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

constexpr size_t kTrain = 10;
constexpr uint16_t kMss = 400;

struct Tunnel {
  const char* name;
  FrameMaker make;
  bool joins = true;  // whether coalescing knows it
  FrameSpec spec = {};
};

FrameSpec Outer(const FrameSpec& inner, bool ipv6) {
  if (ipv6) return {.source = "fd00::1", .destination = "fd00::2"};
  return {
      .source = "192.0.2.1", .destination = "192.0.2.2", .ip_id = static_cast<uint16_t>(inner.ip_id + 100)};
}

std::vector<Tunnel> Tunnels() {
  const auto vxlan = [](const FrameSpec& inner) {
    return VxlanFrame(Outer(inner, false), TcpFrame(inner), 7);
  };
  const auto vxlan_unsummed = [](const FrameSpec& inner) {
    FrameSpec outer = Outer(inner, false);
    outer.zero_udp_checksum = true;
    return VxlanFrame(outer, TcpFrame(inner), 7);
  };
  const auto geneve = [](const FrameSpec& inner) {
    return GeneveFrame(Outer(inner, true), TcpFrame(inner), {0, 1, 0, 1, 1, 2, 3, 4}, 7);
  };
  const auto gre = [](const FrameSpec& inner) {
    return GreFrame(Outer(inner, false), TcpFrame(inner), Ethertype::kBridging);
  };
  const FrameSpec v4 = {
      .ip_id = 65530, .sequence = 0xfffffff0u, .tcp_options = {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9}};
  FrameSpec v6 = v4;
  v6.source = "2001:db8::1", v6.destination = "2001:db8::2";
  std::vector<Tunnel> all;
  for (const FrameSpec& spec : {v4, v6}) {
    const char* const ip = spec.source == v6.source ? "IPv6" : "IPv4";
    all.push_back({ip, TcpFrame, true, spec});
    all.push_back({"VXLAN", vxlan, true, spec});
    all.push_back({"VXLAN without outer checksum", vxlan_unsummed, true, spec});
    all.push_back({"Geneve over IPv6", geneve, true, spec});
    all.push_back({"GRE", gre, false, spec});
  }
  return all;
}

Train TrainOf(const Tunnel& tunnel) {
  FrameSpec big = tunnel.spec;
  for (size_t i = 0; i < kTrain; ++i) {
    const Bytes part = SegmentOf(tunnel.spec, i, kMss).bytes;
    big.bytes.insert(big.bytes.end(), part.begin(), part.end());
  }
  return {.name = tunnel.name,
          .mss = kMss,
          .whole = tunnel.make(big),
          .frames = FrameTrain(tunnel.make, tunnel.spec, kTrain, kMss)};
}

// The bytes of the stream, if each frame goes on where the one before ended.
Bytes StreamOf(const std::vector<Bytes>& frames, uint32_t sequence) {
  Bytes stream;
  for (const Bytes& frame : frames) {
    const JudgedFrame judged = JudgeFrame(frame);
    if (!judged.tcp || judged.sequence != sequence) return {};
    sequence += static_cast<uint32_t>(judged.payload.size());
    stream.insert(stream.end(), judged.payload.begin(), judged.payload.end());
  }
  return stream;
}

void CheckAllRight(const std::vector<Bytes>& frames) {
  size_t wrong = 0;
  for (const Bytes& frame : frames) {
    const JudgedFrame judged = JudgeFrame(frame);
    if (!judged.complaint.empty() && ++wrong == 1) UNSCOPED_INFO(judged.complaint);
  }
  CHECK(wrong == 0);
}

void CheckTrain(Path& path, const Tunnel& tunnel, Asks asks) {
  INFO(tunnel.name << ", asks " << static_cast<int>(asks));
  const Train train = TrainOf(tunnel);
  const std::vector<Bytes>& expected = train.frames;
  const std::vector<Bytes> arrived = path.Carry(train, asks);
  CHECK((arrived == expected));
  CHECK(StreamOf(arrived, tunnel.spec.sequence).size() == kTrain * kMss);
  CHECK((StreamOf(arrived, tunnel.spec.sequence) == StreamOf(expected, tunnel.spec.sequence)));
}

TEST_CASE(
    "whatever is asked, done by hardware and carried, the frames at the end are those of a plain sender") {
  const auto first = GENERATE(range<size_t>(0, std::size(kWires)));
  const auto second = GENERATE(range<size_t>(0, std::size(kWires)));
  const bool lro = GENERATE(false, true);
  for (const Hardware& hardware : kHardware) {
    const PathOptions options = {kWires[first], kWires[second], hardware, lro};
    INFO(Text(options));
    Path path(options);
    for (const Tunnel& tunnel : Tunnels()) {
      CheckTrain(path, tunnel, Asks::kNothing);
      CHECK(path.joined() == (lro && tunnel.joins));
      CheckTrain(path, tunnel, Asks::kChecksums);
      CheckTrain(path, tunnel, Asks::kSegments);
    }
    CheckAllRight(path.Finished());
  }
}

void Write(const std::string& file, const std::vector<Bytes>& frames) {
  auto writer = CaptureWriter::Create(file, {}).value();
  for (const Bytes& frame : frames) REQUIRE(writer->Write(CaptureRecord{.bytes = frame}).ok());
  REQUIRE(writer->Close().ok());
}

TEST_CASE("tshark finds nothing wrong on the wires of the longest path") {
  Path path({kWires[3], kWires[3], kHardware[0], true});
  for (const Tunnel& tunnel : Tunnels()) {
    for (const Asks asks : kAllAsks) path.Carry(TrainOf(tunnel), asks);
  }
  const std::vector<Bytes> frames = path.Finished();
  const TempFolder folder;
  Write(folder.file("matrix.pcapng"), frames);
  size_t good = 0;
  for (const DissectedFrame& frame : Dissect(folder.file("matrix.pcapng"))) {
    CHECK_FALSE(frame.error);
    for (const DissectedLayer& layer : frame.layers) {
      CHECK(layer.checksum != TsharkChecksum::kBad);
      good += layer.name == "tcp" && layer.checksum == TsharkChecksum::kGood;
    }
  }
  CHECK(frames.size() == 3 * Tunnels().size() * 3 * kTrain);
  CHECK(good == frames.size());
}

TEST_CASE("the judge of the matrix sees every wrong byte of headers and payload that a checksum covers") {
  for (const Tunnel& tunnel : Tunnels()) {
    const Bytes right = tunnel.make(SegmentOf(tunnel.spec, 1, 50));
    INFO(tunnel.name);
    REQUIRE(JudgeFrame(right).complaint.empty());
    const size_t payload = right.size() - 50;
    for (const size_t at : {right.size() - 1, payload, payload - 20, payload - 28, payload - 33}) {
      Bytes wrong = right;
      wrong[at] ^= 4;
      CHECK_FALSE(JudgeFrame(wrong).complaint.empty());
    }
    CHECK_FALSE(JudgeFrame(Cut(right, right.size() - 1)).complaint.empty());
  }
}

}  // namespace
}  // namespace sluice::testing
