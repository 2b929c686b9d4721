// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PARSE_BURST_H_
#define SLUICE_PACKET_PARSE_BURST_H_

// Parses the packets of a burst, with the answers that Parse and ExtractFlowKey (parse.h) give for each, and
// several times as fast where neighbours have the same headers in the same places, as most have.
//
//   ParsedBurst parsed;                                  // made once, and kept
//   ParseBurst(burst, LayerSet::kInnermost, parsed);
//   for (size_t i = 0; i < burst.size(); ++i) {
//     if (parsed[i].has_flow) ... parsed[i].flow, burst[i].layers() ...
//   }
//
// For a single packet, and where no flow is wanted, Parse is enough. Threads: as the packets; one ParsedBurst
// per thread. Nothing is allocated.

#include <array>
#include <cstddef>

#include "sluice/base/counters.h"
#include "sluice/base/export.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/flow_key.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/parse.h"

namespace sluice {

// One cache line each, so that a flow is written at once and never straddles two; the rest of the line is
// scratch.
struct alignas(kCacheLine) ParsedPacketFlow {
  FlowKey flow;                              // meaningful if has_flow
  bool has_flow = false;                     // the headers asked for are there, and are IP
  ParseVerdict verdict = ParseVerdict::kOk;  // what Parse answers
};

class ParsedBurst;

// Fills the layers() of each packet, and `parsed`; `flows` says whose flow is wanted, as in Select. Whatever
// the frames hold, nothing is read past the end of a head.
SLUICE_EXPORT void ParseBurst(Burst& burst, LayerSet flows, ParsedBurst& parsed);

class ParsedBurst {
 public:
  // Of the packet that was burst[i]; meaningful for as many as that burst had.
  const ParsedPacketFlow& operator[](size_t i) const { return packets_[i]; }

 private:
  friend void ParseBurst(Burst& burst, LayerSet flows, ParsedBurst& parsed);

  std::array<ParsedPacketFlow, Burst::kCapacity> packets_;
  Layers expected_;  // of the next packet: those of an earlier one
};

}  // namespace sluice

#endif  // SLUICE_PACKET_PARSE_BURST_H_
