// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_PARSE_BURST_INTERNAL_H_
#define SLUICE_LIB_PACKET_PARSE_BURST_INTERNAL_H_

// The variants of ParseBurst: packet by packet (parse_burst.cc), and in runs of packets that are alike, which
// AVX2 (parse_avx2.cc) or AVX-512 (parse_icelake.cc) compares.

#include <cstddef>

#include "packet/simd_internal.h"
#include "sluice/packet/parse_burst.h"

namespace sluice {

struct PacketRun {
  Packet* const* packets;
  size_t size;
  LayerSet flows;
  ParsedPacketFlow* parsed;
};

using ParseRun = Dispatch<void(const PacketRun&, Layers& expected)>;
extern ParseRun parse_run;

void ParseOneByOne(const PacketRun& run, Layers& expected);

// Parses from `first` on as many packets as have `layers`, and returns the first that may have others.
using ParseAlikeFunction = size_t(const PacketRun& run, size_t first, const Layers& layers);
void ParseInRuns(const PacketRun& run, Layers& expected, ParseAlikeFunction* parse_alike);
void ParseRunsAvx2(const PacketRun& run, Layers& expected);
void ParseRunsIceLake(const PacketRun& run, Layers& expected);

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_PARSE_BURST_INTERNAL_H_
