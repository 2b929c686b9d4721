// SPDX-License-Identifier: Apache-2.0
// Frames, each with two bytes of length and one of what happens before it, into a coalescer and its twin: they must agree,
// what comes out must be right in itself, and cut again what went in.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "sluice/packet/packet_pool.h"
#include "tests/support/simple_coalescer.h"

namespace {

using namespace sluice;
using namespace sluice::testing;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

size_t FramesOf(const std::vector<Coalesced>& output) {
  size_t frames = 0;
  for (const Coalesced& one : output) frames += one.Undone().size();
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto pool = PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff}).value();
  const CoalesceOptions options = {
      .flows = 3, .max_bytes = 1000, .max_segments = 6, .max_age = absl::Nanoseconds(4)};
  CoalescerRig rig(*pool, options);
  SimpleCoalescer twin(options);
  size_t frames = 0;
  for (Nanoseconds now = 0; size > 3; ++now) {
    const size_t length = std::min<size_t>(data[0] % 2 * 256u + data[1], size - 3);
    if (data[2] % 4 == 0) rig.Flush(now), twin.Flush(now);
    const Bytes frame(data + 3, data + 3 + length);
    rig.Add({frame}, now);
    twin.Add(frame, now);
    ++frames;
    data += 3 + length;
    size -= 3 + length;
  }
  rig.FlushAll();
  twin.FlushAll();
  const std::vector<Coalesced> output = rig.TakeOutput();
  if (!rig.complaint().empty()) Die(rig.complaint().c_str());
  if (output != twin.TakeOutput()) Die("the twin makes something else of it");
  if (FramesOf(output) != frames) Die("not as many frames as went in");
  if (pool->available() != 4096) Die("packets are missing");
  return 0;
}
