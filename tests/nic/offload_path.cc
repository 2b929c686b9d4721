// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/offload_path.h"

#include "absl/strings/str_cat.h"
#include "sluice/packet/parse.h"

namespace sluice::testing {
namespace {

constexpr PacketPoolOptions kPool = {.packets = 512, .huge_pages = HugePages::kOff};

ModelPairOptions First(const PathOptions& options, Recording& recording) {
  ModelPairOptions first = {.wire = options.first.options, .recording = &recording, .pool = kPool};
  if (options.lro) first.b.coalesce = CoalesceOptions{};
  return first;
}

ModelPairOptions Second(const PathOptions& options, Recording& recording) {
  return {.a = {.hardware = options.hardware.able},
          .wire = options.second.options,
          .a_queues = {.rx_ring = 64, .tx_ring = 64},
          .recording = &recording,
          .pool = kPool};
}

// The frame without its first tag, which is asked for.
PacketPtr Untagged(ModelPair& pair, Bytes frame) {
  constexpr ptrdiff_t kTag = 2 * sizeof(MacAddress);
  const auto tci = static_cast<uint16_t>(frame[kTag + 2] << 8 | frame[kTag + 3]);
  frame.erase(frame.begin() + kTag, frame.begin() + kTag + sizeof(VlanTag));
  PacketPtr packet = pair.Packet(frame);
  REQUIRE(packet != nullptr);
  packet->vlan_tci = tci;
  packet->offload.insert_vlan = true;
  return packet;
}

PacketPtr Plain(ModelPair& pair, const Train& train, const Bytes& frame) {
  if (train.asks_for_tag) return Untagged(pair, frame);
  PacketPtr packet = pair.Packet(frame);
  REQUIRE(packet != nullptr);
  return packet;
}

// Spoils what the next device is to finish.
void LeaveChecksums(Packet& packet) {
  REQUIRE(Parse(packet) == ParseVerdict::kOk);
  const Layers& layers = packet.layers();
  const LayerOffsets& at = Select(layers, LayerSet::kInnermost);
  const size_t field =
      at.l4_type == L4Type::kTcp ? offsetof(TcpHeader, checksum) : offsetof(UdpHeader, checksum);
  packet.data()[at.l4 + field] ^= 0x5a;
  packet.offload.l4_checksum = true;
  packet.offload.l3_checksum = at.l3_type == L3Type::kIpv4;
  if (at.l3_type == L3Type::kIpv4) packet.data()[at.l3 + offsetof(Ipv4Header, checksum)] ^= 0x5a;
  packet.offload.outer_checksum = layers.tunnel != TunnelType::kNone;
}

Burst Load(ModelPair& pair, const Train& train, Asks asks) {
  Burst burst;
  if (asks == Asks::kSegments) {
    burst.Push(Plain(pair, train, train.whole));
    burst[0].offload.l4_checksum = true;
    burst[0].offload.segment = true;
    burst[0].offload.mss = train.mss;
    return burst;
  }
  for (const Bytes& frame : train.frames) burst.Push(Plain(pair, train, frame));
  for (Packet* packet : burst) {
    if (asks == Asks::kChecksums) LeaveChecksums(*packet);
  }
  return burst;
}

size_t Forward(ModelPair& from, ModelPair& to) {
  size_t packets = 0;
  for (Burst burst; from.b().rx(QueueId{0}).Receive(burst) > 0;) {
    packets += burst.size();
    to.a().tx(QueueId{0}).Send(burst);
    CHECK(burst.empty());
  }
  return packets;
}

}  // namespace

std::string Text(const PathOptions& options) {
  return absl::StrCat(options.first.name, ", LRO ", options.lro, ", ", options.hardware.name, ", ",
                      options.second.name);
}

Path::Path(const PathOptions& options)
    : wires_{options.first.options, options.second.options, kCable},
      first_(First(options, recordings_[0])),
      second_(Second(options, recordings_[1])),
      third_({.wire = kCable, .recording = &recordings_[2], .pool = kPool}) {}

std::vector<Bytes> Path::Carry(const Train& train, Asks asks) {
  Burst burst = Load(first_, train, asks);
  first_.a().tx(QueueId{0}).Send(burst);
  REQUIRE(burst.empty());
  joined_ = Forward(first_, second_) == 1;
  Forward(second_, third_);
  std::vector<Bytes> frames;
  Burst arrived;
  third_.b().rx(QueueId{0}).Receive(arrived);
  for (const Packet* packet : arrived) frames.push_back(BytesOf(*packet));
  return frames;
}

std::vector<Bytes> Path::Finished() const {
  std::vector<Bytes> finished;
  for (size_t i = 0; i < wires_.size(); ++i) {
    for (const RecordedFrame& frame : recordings_[i]) {
      if (!wires_[i].carries_offloads) CHECK_FALSE(frame.request.any());
      if (!frame.request.any()) finished.push_back(frame.bytes);
    }
  }
  return finished;
}

}  // namespace sluice::testing
