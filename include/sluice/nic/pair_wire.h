// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_PAIR_WIRE_H_
#define SLUICE_NIC_PAIR_WIRE_H_

// Wires that never leave the process: a cable between two ModelNics, a plug that sends a ModelNic's frames
// back to it, and a port to nowhere.
//
//   ModelNic A ═ lane 0 ══▶ ModelNic B      a lane: a ring of Packet pointers, one sender, one receiver;
//              ═ lane 1 ══▶                 no frame is copied, and an offload request crosses unfinished
//              ◀══ lane 0 ═
//
// Loss: none. A peer that does not receive shows as packets not taken. When an end closes, what it had sent
//   is still delivered; what it had not received is given back (kStopped, at that end).
// Ownership: a packet keeps its pool on the way, so each pool outlives both ends, and whoever receives frees
//   to the sender's pool. Who is charged for it does not change on the way; see ModelNic for when it does.
// Cost: pointers are copied. Receiving a packet through a ModelNic and sending it on takes about 2.8 cycles in
//   bursts of 32 (benchmarks: nic/pair), where both ends are held by ModelNics, with no wire around them: the
//   sender then looks at each packet for both. Waking a peer that sleeps is one write(2), made only when it has
//   armed.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "sluice/base/export.h"
#include "sluice/nic/wire.h"

namespace sluice {

struct PairOptions {
  std::string name = "pair";
  uint32_t max_frame = 65535;     // bytes; frames to be segmented are not measured by it
  bool carries_offloads = true;   // false: a pair like a real cable, over which frames go finished ...
  bool carries_fragments = true;  // ... and in one piece
};

// The two ends of one cable; its link is up while both are open. An end may be destroyed before the other, which is then
// told that it is gone: nobody can open it again.
SLUICE_EXPORT std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>> MakeWirePair(
    const PairOptions& options = {});

// A cable from a Nic to itself: what is sent comes back.
SLUICE_EXPORT std::unique_ptr<Wire> MakeLoopWire(const PairOptions& options = {.name = "loop"});

struct NullWireOptions {
  uint32_t frame_length = 64;  // bytes of each arrival; its contents are whatever the buffer held
  bool source = true;          // false: nothing ever arrives
};

// Gives a fresh packet of the Nic's pool for each that is asked for, and frees at once whatever is sent: what
// is left to measure is the pool and the Nic. Arrivals that the pool has no buffer for do not exist and are
// not counted.
SLUICE_EXPORT std::unique_ptr<Wire> MakeNullWire(const NullWireOptions& options = {});

}  // namespace sluice

#endif  // SLUICE_NIC_PAIR_WIRE_H_
