// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_RING_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_RING_INTERNAL_H_

// How the rings look that an mlx5 card and its driver share, as far as receiving goes. The card writes most significant
// bytes first.
//
//   work ring        │ segment 0 │ segment 1 │ ...   16 bytes: where the card puts a frame
//   its record         how many segments were ever written, modulo 2^16
//   completion ring  │ completion 0 │ completion 1 │ ...   64 bytes: what came
//   its records        how many of them were ever read, modulo 2^24; and when to send an event
//
// Who owns a place of the completion ring, its last byte says: bit 0 turns with each round of the ring. Places that the
// card skips (Mlx5Block) keep what they had, so that who reads marks them as holding nothing.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/packet/big_endian.h"

namespace sluice {

// One completion: struct mlx5_cqe64 of mlx5dv.h. What is reserved there, and known of Ethernet frames, are places of the
// card's manual (PRM, completion queue entries).
struct Mlx5Completion {
  static constexpr uint8_t kTunnel = 1;                         // in `tunnel`
  static constexpr uint8_t kL3Good = 1 << 1, kL4Good = 1 << 2;  // in `verdicts`
  static constexpr uint8_t kTagTaken = 1;                       // in `headers`
  static constexpr uint32_t kMarkMask = (1 << 24) - 1;          // of `mark`

  uint8_t tunnel;  // whether verdicts and headers are those of inside
  uint8_t reserved1;
  Be16 request;  // of a striding queue, whose `counter` is the stride
  uint8_t lro_flags;
  uint8_t lro_least_ttl;
  Be16 lro_window;
  Be32 lro_acknowledged;
  Be32 hash;
  uint8_t hash_kind;  // 0: nothing was hashed
  uint8_t reserved17[3];
  Be16 checksum;
  uint8_t reserved22[6];
  uint8_t verdicts;
  uint8_t headers;
  Be16 vlan_tci;
  uint8_t lro_segments;
  uint8_t reserved33[11];
  Be32 bytes;  // of the frame; of a block, how many completions it stands for
  Be64 stamp;  // of an error, its last byte is the syndrome
  Be32 mark;
  Be16 counter;  // of the work request
  uint8_t signature;
  uint8_t owner;  // opcode in bits 4 to 7, format in bits 2 and 3
};
static_assert(sizeof(Mlx5Completion) == 64 && alignof(Mlx5Completion) == 1);
static_assert(offsetof(Mlx5Completion, request) == 2);
static_assert(offsetof(Mlx5Completion, lro_acknowledged) == 8 && offsetof(Mlx5Completion, hash) == 12);
static_assert(offsetof(Mlx5Completion, hash_kind) == 16 && offsetof(Mlx5Completion, checksum) == 20);
static_assert(offsetof(Mlx5Completion, verdicts) == 28 && offsetof(Mlx5Completion, vlan_tci) == 30);
static_assert(offsetof(Mlx5Completion, lro_segments) == 32 && offsetof(Mlx5Completion, bytes) == 44);
static_assert(offsetof(Mlx5Completion, stamp) == 48 && offsetof(Mlx5Completion, mark) == 56);
static_assert(offsetof(Mlx5Completion, counter) == 60 && offsetof(Mlx5Completion, owner) == 63);

enum class Mlx5Opcode : uint8_t { kReceived = 2, kReceiveFailed = 14, kNothing = 15 };

// The byte of the owner, taken apart (mlx5dv_get_cqe_owner, _format and _opcode of mlx5dv.h).
constexpr uint8_t kMlx5Round = 1;
constexpr uint8_t Mlx5Owner(Mlx5Opcode opcode, uint8_t round) {
  return static_cast<uint8_t>(static_cast<uint8_t>(opcode) << 4 | round);
}
constexpr Mlx5Opcode OpcodeOf(uint8_t owner) { return static_cast<Mlx5Opcode>(owner >> 4); }
constexpr uint8_t kMlx5FormatMask = 3 << 2;  // both bits: the title of a block

// Of errors (mlx5_err_cqe of mlx5dv.h): how the request failed (IBA, 10.10.3). The queue goes on after a frame that was too
// long, and after what is not named here.
enum class Mlx5Syndrome : uint8_t { kLength = 0x01, kOperation = 0x02, kProtection = 0x04, kFlushed = 0x05 };

// Completions that are alike but for these may come as a block (compressed completions), as long as the card likes:
//
//   place    0        1        2 ... 7    8        9 ...      n
//            title    0 .. 7   (skipped)  8 .. 15  (skipped)  the next one
//
// The title is a completion, whose `bytes` counts those of the block. n completions take n places.
struct Mlx5MiniCompletion {
  Be32 hash;
  Be32 bytes;
};
struct Mlx5Block {
  static constexpr uint32_t kMinis = 8;
  Mlx5MiniCompletion minis[kMinis];
};
static_assert(sizeof(Mlx5Block) == sizeof(Mlx5Completion));

// Where a frame is to go: struct mlx5_wqe_data_seg of mlx5dv.h. In a striding queue it is the second half of a request
// (mlx5_mprq_wqe), whose first the card keeps for itself.
struct Mlx5Segment {
  Be32 bytes;
  Be32 key;  // of the registered memory
  Be64 address;
};
static_assert(sizeof(Mlx5Segment) == 16);

// The order of what the card sees, and of what it is seen to do. Machines with a weaker order than x86 tell devices and
// other CPUs apart, and C++ knows of CPUs only; see udma_to_device_barrier and the like of rdma-core.
inline void Mlx5OrderReads() {
#if defined(__aarch64__)
  asm volatile("dmb oshld" ::: "memory");
#elif !defined(__x86_64__)
  __sync_synchronize();
#endif
}
inline void Mlx5OrderWrites() {
#if defined(__aarch64__)
  asm volatile("dmb oshst" ::: "memory");
#elif !defined(__x86_64__)
  __sync_synchronize();
#endif
}
// Of a record in memory before a write to the card's registers, and of that before all that follows.
inline void Mlx5OrderRegisters() {
#if defined(__x86_64__)
  asm volatile("sfence" ::: "memory");
#elif defined(__aarch64__)
  asm volatile("dmb oshst" ::: "memory");
#else
  __sync_synchronize();
#endif
}

// A record: what the driver tells the card by a word in memory. Acquire and release, for a card that is a thread of this
// process (in tests); for real ones see above.
inline void TellMlx5(uint32_t& record, uint32_t value) {
  Mlx5OrderWrites();
  std::atomic_ref<uint32_t>(record).store(std::bit_cast<uint32_t>(Be32(value)), std::memory_order_release);
}

// What is at a place, once the card has written it all.
inline uint8_t OwnerOf(const Mlx5Completion& place) {
  const uint8_t owner = __atomic_load_n(&place.owner, __ATOMIC_ACQUIRE);
  Mlx5OrderReads();
  return owner;
}

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_RING_INTERNAL_H_
