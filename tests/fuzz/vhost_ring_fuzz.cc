// SPDX-License-Identifier: Apache-2.0
// Any bytes as the memory of a guest, with its rings in it, and bytes that it changes between bursts: whatever is there, nothing
// outside that memory is touched, no packet is lost, and a ring either goes on or stops for a reason that has a name. So it is with
// notes of what was in flight before, which lie there as well.
//
//   input   │ options │ steps: place, value │ memory, from its first byte │
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "nic/vhost/guest_sink_internal.h"
#include "nic/vhost/guest_source_internal.h"

namespace {

using namespace sluice;

constexpr size_t kSteps = 16;
constexpr size_t kRegion = 4096;
constexpr uint32_t kPackets = 256;
constexpr uint8_t kNoted =
    0x80;  // in the upper half of the first place, which means nothing there: notes of what is in flight
// Guest's addresses, small, so that inputs find them: two regions with a hole between.
constexpr uint64_t kFirst = 0x1000, kSecond = 0x3000;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

struct Freed {
  void operator()(uint8_t* bytes) const { std::free(bytes); }
};
using Area = std::unique_ptr<uint8_t, Freed>;  // ends where the sanitizer says so

Area MakeArea() {
  auto* const here = static_cast<uint8_t*>(std::aligned_alloc(kRegion, kRegion));
  std::memset(here, 0, kRegion);
  return Area(here);
}

RingShape ShapeOf(uint8_t bits) {
  constexpr uint32_t kHeaders[] = {10, 12, 12, 20};
  return {.size = 16,
          .header_bytes = kHeaders[bits & 3],
          .packed = (bits & 4) != 0,
          .indirect = (bits & 8) != 0,
          .event_index = (bits & 16) != 0,
          .in_order = (bits & 32) != 0,
          .mergeable = (bits & 64) != 0,
          .takes_verdicts = (bits & 128) != 0,
          .asks = (bits & 3) != 2};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto pool = PacketPool::Create({.packets = kPackets, .huge_pages = HugePages::kOff}).value();
  constexpr size_t kBegin = 1 + 3 * kSteps;
  if (size < kBegin) return 0;
  const Area first = MakeArea(), second = MakeArea();
  std::memcpy(first.get(), data + kBegin, std::min(size - kBegin, kRegion));
  RingPlace place = {.descriptors = first.get(), .driver = first.get() + 512, .device = first.get() + 1024};
  place.memory = std::make_shared<GuestMemory>(
      std::vector<GuestRegion>{{.guest = kFirst, .user = kFirst, .bytes = kRegion, .here = first.get()},
                               {.guest = kSecond, .user = kSecond, .bytes = kRegion, .here = second.get()}});
  if ((data[2] & kNoted) != 0) place.inflight = {.here = first.get() + 2048, .bytes = 1024};
  const RingShape shape = ShapeOf(data[0]);
  DropCounters drops;
  GuestSource source({.pool = pool.get(), .drops = &drops, .copy_up_to = 512});
  GuestSink sink;
  source.Start(shape, place, {});
  sink.Start(shape, place, {});

  Burst held;
  for (size_t i = 0; i < kSteps; ++i) {
    const uint8_t* const step = data + 1 + 3 * i;
    first.get()[(step[0] | size_t{step[1]} << 8) % kRegion] = step[2];
    Burst burst;
    source.Receive(burst);
    sink.Send(burst, drops);
    burst.MoveFront(std::min(burst.size(), held.room()), held);
    if (i % 4 == 3) held.Clear();
    if (i % 8 == 5) source.Arm();
    source.Reclaim();
  }
  if (Name(source.fault()).empty() || Name(sink.fault()).empty()) Die("a fault without a name");
  held.Clear();
  if (source.lent() != 0) Die("a loan that did not come home");
  if (pool->available() != kPackets) Die("packets are missing");
  source.Stop();
  return 0;
}
