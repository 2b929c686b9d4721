// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/parse_burst.h"

#include <cstring>

#include "packet/parse_burst_internal.h"
#include "packet/parse_internal.h"

namespace sluice {
namespace {

bool Same(const Layers& a, const Layers& b) { return std::memcmp(&a, &b, sizeof(Layers)) == 0; }

}  // namespace

void ParseOneOf(const PacketRun& run, size_t i) {
  Packet& packet = *run.packets[i];
  ParsedPacketFlow& parsed = run.parsed[i];
  parsed.verdict = Parse(packet);
  parsed.has_flow = ExtractFlowKeyAt(packet.data(), Select(packet.layers(), run.flows), parsed.flow);
}

void ParseOneByOne(const PacketRun& run, Layers&) {
  constexpr size_t kAhead = 4;  // packets: what their headers take to come from memory
  for (size_t i = 0; i < run.size; ++i) {
    if (i + kAhead < run.size) __builtin_prefetch(run.packets[i + kAhead]->data());
    ParseOneOf(run, i);
  }
}

// A run is tried behind a few that are alike, and at the start of a burst if the last one ended so: traffic of
// many kinds would make many runs that end at once, which the processor does not foresee.
void ParseInRuns(const PacketRun& run, Layers& expected, ParseAlikeFunction* parse_alike) {
  constexpr size_t kFew = 4;
  size_t i = run.size == 0 ? 0 : parse_alike(run, 0, expected);
  if (i == run.size) return;
  size_t alike = 0;
  while (i < run.size) {
    ParseOneOf(run, i);
    const Layers& layers = run.packets[i]->layers();
    alike = Same(layers, expected) ? alike + 1 : 0;
    expected = layers;
    if (++i == run.size || alike < kFew) continue;
    i = parse_alike(run, i, expected);
    if (i == run.size) return;
    alike = 0;
  }
  if (alike == 0) expected = Layers{};
}

#if defined(__x86_64__)
constinit ParseRun parse_run({.scalar = &ParseOneByOne,
                              .avx2 = &ParseRunsAvx2,
                              .icelake = &ParseRunsIceLake});
#else
constinit ParseRun parse_run({.scalar = &ParseOneByOne});
#endif

void ParseBurst(Burst& burst, LayerSet flows, ParsedBurst& parsed) {
  parse_run(
      {.packets = burst.begin(), .size = burst.size(), .flows = flows, .parsed = parsed.packets_.data()},
      parsed.expected_);
}

}  // namespace sluice
