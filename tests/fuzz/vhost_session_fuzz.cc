// SPDX-License-Identifier: Apache-2.0
// What a front-end says, as a script: messages that are right but for the bytes that the input turns over, with descriptors of
// several kinds. Rings must be started, rested and stopped in turn, lie in memory that can be written, and nothing may stay open.
//
//   step := request (an index into kVhostRules, or beyond: one that is not served)
//           how: bits 0-3 descriptors, 4-5 their kind, 6 asks for an acknowledgement, 7 the payload has `count` bytes
//           count, bytes... turned over in the payload
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>

#include "nic/vhost/dialogue_internal.h"

namespace sluice {
namespace {

constexpr uint64_t kBytes = 1 << 20;
constexpr uint64_t kGuest = 0x10'0000;
constexpr uint64_t kUser = 0x7f00'0000'0000;
constexpr uint64_t kLogBytes = 64;
const VhostSessionOptions kOptions = {
    .path = "fuzz", .features = uint64_t{1} << 32 | uint64_t{1} << 34, .queue_pairs = 2};

void Require(bool holds) {
  if (!holds) std::abort();
}

// Lives as long as the program.
const std::array<int, 4>& Kinds() {
  static const std::array<int, 4> kinds = [] {
    const int memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    Require(ftruncate(memory, kBytes) == 0);
    return std::array<int, 4>{memory, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                              open("/dev/null", O_RDWR | O_CLOEXEC),
                              open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  }();
  return kinds;
}

// Writes to all that it is given, and takes no call out of turn.
class Toucher : public VhostBackend {
 public:
  ~Toucher() override { Require(rings_.empty() && !connected_); }
  void OnConnected() override { connected_ = true; }
  void OnDisconnected(const absl::Status&) override {
    Require(rings_.empty());
    connected_ = false;
  }
  void StartRing(const VhostRingSetup& setup) override {
    Require(rings_.emplace(setup.index, false).second);
    Touch(setup);
  }
  void RestRing(uint16_t ring) override { Require(!std::exchange(rings_.at(ring), true)); }
  void ResumeRing(const VhostRingSetup& setup) override {
    Require(std::exchange(rings_.at(setup.index), false));
    Touch(setup);
  }
  uint32_t StopRing(uint16_t ring) override {
    Require(rings_.erase(ring) == 1);
    return 0;
  }
  void EnableRing(uint16_t ring, bool) override { Require(!rings_.at(ring)); }
  void SetCall(uint16_t ring, VhostFd) override { Require(!rings_.at(ring)); }
  bool SetMtu(uint16_t mtu) override { return mtu <= 1500; }
  void SendRarp(const MacAddress&) override {}

 private:
  static void Touch(const VhostRingSetup& setup) {
    const bool packed = (setup.features >> 34 & 1) != 0;
    const size_t size = setup.size;
    std::memset(setup.place.descriptors, 0, 16 * size);
    std::memset(setup.place.driver, 0, packed ? 4 : 6 + 2 * size);
    std::memset(setup.place.device, 0, packed ? 4 : 6 + 8 * size);
    const InflightRegion& inflight = setup.place.inflight;
    if (inflight.here != nullptr) std::memset(inflight.here, 0, inflight.bytes);
    for (const GuestRegion& region : setup.place.memory->regions()) {
      region.here[0] = region.here[region.bytes - 1] = 1;
      if (setup.place.log != nullptr) setup.place.log->Mark(region.guest, region.bytes);
    }
  }

  std::map<uint16_t, bool> rings_;  // and whether each rests
  bool connected_ = false;
};

using Payload = std::vector<uint8_t>;

template <typename T>
Payload BytesOf(const T& value) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(&value);
  return {bytes, bytes + sizeof(value)};
}

// What is right to say, once the rest was said.
Payload Right(VhostRequest request) {
  const VhostMemoryRegion region = {kGuest, kBytes, kUser, 0};
  switch (request) {
    case VhostRequest::kSetFeatures:
      return BytesOf(uint64_t{1} << 32 | kVhostProtocolFeatures);
    case VhostRequest::kSetProtocolFeatures:
      return BytesOf(kVhostServedProtocolFeatures);
    case VhostRequest::kSetMemTable: {
      Payload table = BytesOf(VhostMemoryTable{.count = 1, .padding = 0, .regions = {region}});
      table.resize(8 + sizeof(region));
      return table;
    }
    case VhostRequest::kAddMemReg:
    case VhostRequest::kRemMemReg:
      return BytesOf(VhostSingleRegion{.padding = 0, .region = region});
    case VhostRequest::kSetLogBase:
      return BytesOf(VhostLogArea{kLogBytes, 0});
    case VhostRequest::kSetInflightFd:
    case VhostRequest::kGetInflightFd:
      return BytesOf(VhostInflightArea{.bytes = kBytes, .offset = 0, .queues = 4, .ring = 64});
    case VhostRequest::kSetVringAddr:
      return BytesOf(VhostRingAddress{0, 0, kUser, kUser + 0x2000, kUser + 0x1000, kGuest + 0x2000});
    case VhostRequest::kSetVringNum:
      return BytesOf(VhostRingState{0, 64});
    case VhostRequest::kSetVringEnable:
      return BytesOf(VhostRingState{0, 1});
    default: {
      const VhostRule* const rule = VhostRuleOf(static_cast<uint32_t>(request));
      return Payload(rule == nullptr ? 8 : rule->least_bytes);
    }
  }
}

class Script {
 public:
  Script(const uint8_t* data, size_t size) : rest_(data, size) {}

  // Says the next step; false at the end.
  bool Say(const VhostSocket& front) {
    if (rest_.size() < 3) return false;
    const uint8_t which = rest_[0], how = rest_[1], count = rest_[2];
    rest_.remove_prefix(3);
    const auto request = which < kVhostRules.size() ? kVhostRules[which].request : VhostRequest{which};
    Payload payload = Right(request);
    if ((how & 0x80) != 0) payload.resize(count);
    Turn(payload, count);
    const uint32_t flags = kVhostVersion | ((how & 0x40) != 0 ? kVhostNeedReply : 0);
    std::array<int, 15> fds;
    fds.fill(Kinds()[how >> 4 & 3]);
    front.Send({static_cast<uint32_t>(request), flags, static_cast<uint32_t>(payload.size())}, payload,
               {fds.data(), how & 0xfu});
    return true;
  }

 private:
  void Turn(Payload& payload, size_t count) {
    const size_t turned = std::min({count, payload.size(), rest_.size()});
    for (size_t i = 0; i < turned; ++i) payload[i] ^= rest_[i];
    rest_.remove_prefix(turned);
  }

  absl::Span<const uint8_t> rest_;
};

void Play(Script script) {
  Toucher backend;
  int ends[2] = {-1, -1};
  Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  VhostSocket front{UniqueFd(ends[0])};
  VhostDialogue dialogue(UniqueFd(ends[1]), kOptions, backend);
  while (script.Say(front) && dialogue.Serve()) {
    while (front.Receive() == VhostArrival::kMessage) {
    }
  }
}

// The lowest that is free: the same before and after when nothing stays open.
int FreeDescriptor() {
  const UniqueFd probe(dup(Kinds()[0]));
  return probe.get();
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int before = sluice::FreeDescriptor();
  sluice::Play(sluice::Script(data, size));
  sluice::Require(sluice::FreeDescriptor() == before);
  return 0;
}
