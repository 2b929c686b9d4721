// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_PROTOCOL_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_PROTOCOL_INTERNAL_H_

// What the two ends of a shared-memory wire agree on: the greeting, and the layout of a board.
//
// On connecting, each end sends one ShmHello with three descriptors: its board and its pool's region, both
// read-only and sealed against shrinking and hole punching (reading a page that its owner took away would
// kill the reader), and a socket to ring it by. Nothing else is ever sent.
//
//   board (written by its owner alone, mapped read-only by the peer; zero at first)
//   ┌───────┬─────────────────┬───────────────────────┬─────────────────────┬────────────────────┬─────────────────────┐
//   │ sleep │ out[own lanes]  │ in[kShmMaxLanes]      │ places[lanes][ring] │ metas[lanes][ring] │ short[lanes][ring]  │
//   └───────┴─────────────────┴───────────────────────┴─────────────────────┴────────────────────┴─────────────────────┘
//            produced, closed   consumed, of the peer's lanes
//
// A descriptor is a place, and a meta where the place says so: most frames have none, and then its line does not travel.
// A frame of at most a line is written to the short place of its slot, and its packet is free again at once: one line
// after the other is fetched before it is asked for, and those of a pool in use would come from anywhere.
//
// Indices count descriptors from 0 and never wrap; a descriptor's slot is its index modulo the ring.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/packet/packet.h"

namespace sluice {

inline constexpr uint64_t kShmMagic = 0x6572'6977'6d68'7331;  // "1shmwire" in memory
inline constexpr uint32_t kShmVersion = 4;                    // of everything in this file
inline constexpr uint32_t kShmMaxLanes = 64;
inline constexpr uint32_t kShmMaxRing = 32768;
inline constexpr uint32_t kShmMaxFrame = 65535;
inline constexpr size_t kShmHelloFds = 3;  // board, packets, doorbell

struct ShmHello {
  uint64_t magic = kShmMagic;
  uint32_t version = kShmVersion;
  uint32_t lanes = 0;
  uint32_t ring = 0;  // descriptors a lane, a power of two
  uint32_t reserved = 0;
  uint64_t board_bytes = 0;
  uint64_t packet_bytes = 0;
};
static_assert(sizeof(ShmHello) == 40);

// Two lines apart: the neighbour of a line is fetched with it.
inline constexpr size_t kShmApart = 2 * kCacheLine;

struct alignas(kShmApart) ShmSleep {
  std::atomic<uint64_t> armed{0};  // which Arm() waits to be rung, counted from 1; 0 = none
};
struct alignas(kShmApart) ShmOut {
  std::atomic<uint64_t> produced{0};
  std::atomic<uint64_t> closed{0};  // the next three
};
// A lane ends in two steps, so that both ends agree on what was delivered: the owner sets kShmClosing, reads
// `consumed`, takes its packets back, and says how far it saw them consumed.
inline constexpr uint64_t kShmOpen = 0;
inline constexpr uint64_t kShmClosing = 1;
inline constexpr uint64_t kShmClosedAt = 2;  // + the index
struct alignas(kShmApart) ShmIn {
  std::atomic<uint64_t> consumed{0};
};

// One piece of a frame. Two words, each read once.
//   place:  offset in the sender's region (40 bits), bytes (21 bits), has a meta (1 bit), in the short place (1 bit),
//           more pieces follow (1 bit)
//   meta:   of the first piece: what the sender knows of the frame. See EncodeShmMeta.
using ShmWord = std::atomic<uint64_t>;
static_assert(ShmWord::is_always_lock_free);

inline constexpr uint64_t kShmMore = uint64_t{1} << 63;
inline constexpr uint64_t kShmShort = uint64_t{1} << 62;  // a whole frame; the offset means nothing
inline constexpr uint64_t kShmTells = uint64_t{1} << 61;  // there is a meta
inline constexpr uint32_t kShmShortFrame = kCacheLine;
inline constexpr uint64_t kShmMaxRegion = uint64_t{1} << 40;

inline constexpr uint64_t ShmPlace(uint64_t offset, uint32_t bytes) { return offset | uint64_t{bytes} << 40; }
inline constexpr uint64_t ShmOffset(uint64_t place) { return place & (kShmMaxRegion - 1); }
inline constexpr uint32_t ShmBytes(uint64_t place) {
  return static_cast<uint32_t>((place & ~(kShmMore | kShmShort | kShmTells)) >> 40);
}

// Offload request, verdicts and VLAN. False from DecodeShmMeta when no packet can look like that.
uint64_t EncodeShmMeta(const Packet& packet);
bool DecodeShmMeta(uint64_t meta, Packet& packet);

// A board in memory of which `hello` gave the measures. A peer's is only ever read.
class ShmBoard {
 public:
  ShmBoard() = default;
  ShmBoard(uint8_t* data, const ShmHello& hello) : data_(data), lanes_(hello.lanes), ring_(hello.ring) {}

  static constexpr size_t BytesFor(size_t lanes, size_t ring) {
    return sizeof(ShmSleep) + lanes * sizeof(ShmOut) + kShmMaxLanes * sizeof(ShmIn) +
           lanes * ring * (2 * sizeof(ShmWord) + kShmShortFrame);
  }

  ShmSleep& sleep() const { return *At<ShmSleep>(0); }
  ShmOut& out(size_t lane) const { return At<ShmOut>(sizeof(ShmSleep))[lane]; }
  ShmIn& in(size_t lane) const { return At<ShmIn>(sizeof(ShmSleep) + lanes_ * sizeof(ShmOut))[lane]; }
  ShmWord* places(size_t lane) const { return At<ShmWord>(BytesFor(lanes_, 0)) + lane * ring_; }
  ShmWord* metas(size_t lane) const { return places(lanes_ + lane); }
  uint8_t* short_frames(size_t lane) const {
    return reinterpret_cast<uint8_t*>(places(2 * lanes_)) + lane * ring_ * kShmShortFrame;
  }

 private:
  template <typename T>
  T* At(size_t offset) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

  uint8_t* data_ = nullptr;
  size_t lanes_ = 0;
  size_t ring_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_PROTOCOL_INTERNAL_H_
