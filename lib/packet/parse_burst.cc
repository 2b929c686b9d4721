// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/parse_burst.h"

#include "packet/parse_burst_internal.h"
#include "packet/parse_internal.h"

namespace sluice {

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

#if defined(__x86_64__)
constinit ParseRun parse_run({.scalar = &ParseOneByOne, .icelake = &ParseRunsIceLake});
#else
constinit ParseRun parse_run({.scalar = &ParseOneByOne});
#endif

void ParseBurst(Burst& burst, LayerSet flows, ParsedBurst& parsed) {
  parse_run(
      {.packets = burst.begin(), .size = burst.size(), .flows = flows, .parsed = parsed.packets_.data()},
      parsed.expected_);
}

}  // namespace sluice
