// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_FREED_PACKET_INTERNAL_H_
#define SLUICE_PACKET_FREED_PACKET_INTERNAL_H_

// What debug builds do to a packet while it is free, so that whoever still uses it is found out: its buffer
// is filled with a pattern that must be there still when the packet is got again, its data() is null, and
// freeing it twice stops the program. Under AddressSanitizer its buffer may not even be read.
//
// In release builds kCheckFrees is false and none of this is called.

#include <cstdint>

#include "sluice/packet/packet.h"

namespace sluice {

#if !defined(NDEBUG) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kCheckFrees = true;
#else
inline constexpr bool kCheckFrees = false;
#endif

class FreedPacket {
 public:
  // On the way into the pool. Aborts with the pool's name and the packet's index if it is there already.
  static void Bury(Packet& packet);

  // On the way out. Aborts likewise if anybody wrote to the packet or its buffer meanwhile.
  static void Exhume(Packet& packet);

  // When the pool ends. Aborts if the packet is still in use: its holder would be left with freed memory.
  static void Forget(Packet& packet);
};

}  // namespace sluice

#endif  // SLUICE_PACKET_FREED_PACKET_INTERNAL_H_
