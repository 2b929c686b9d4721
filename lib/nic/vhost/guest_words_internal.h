// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_WORDS_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_WORDS_INTERNAL_H_

// Single words of memory that the guest reads and writes at the same time. Little-endian, as is this machine (2.4).

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice {

static_assert(std::endian::native == std::endian::little);

// Up to here a loop of moves is faster than the C library's copy, which first has to find out what is best.
inline constexpr size_t kShortCopy = 256;

// Reads a value once: what is checked is what is used, whatever the compiler makes of it. Of any alignment.
template <typename Word>
inline Word ReadOnce(const uint8_t* at) {
  static_assert(sizeof(Word) <= 8);
  Word word;
  std::memcpy(&word, at, sizeof(word));
  asm volatile("" : "+r"(word));  // from here on it is in a register, not in the guest's memory
  return word;
}

// Of aligned words, in the orders of <atomic>.
template <typename Word>
inline Word Load(const uint8_t* at, int order) {
  return __atomic_load_n(reinterpret_cast<const Word*>(at), order);
}
template <typename Word>
inline void Store(uint8_t* at, Word word, int order) {
  __atomic_store_n(reinterpret_cast<Word*>(at), word, order);
}

// A full fence towards the guest: a locked instruction on a line of our own, rather than std::atomic_thread_fence, of which
// ThreadSanitizer knows nothing.
inline void GuestFence() {
  int word = 0;
  __atomic_fetch_or(&word, 0, __ATOMIC_SEQ_CST);
}

inline constexpr size_t kLine = 64;

inline bool StartsLine(const uint8_t* at) { return reinterpret_cast<uintptr_t>(at) % kLine == 0; }

// Sends for the lines of `bytes` bytes from `at` on, to be read.
inline void SendForReading(const uint8_t* at, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(at + i);
}
// The same, to be written: they come as one's own, which for __builtin_prefetch depends on what we are compiled for.
inline void SendForWriting(const uint8_t* at, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kLine) asm volatile("prefetchw %0" : : "m"(at[i]));
}

template <size_t kBytes>
inline void MoveBytes(uint8_t* to, const uint8_t* from) {
  uint64_t __attribute__((vector_size(kBytes))) moved;
  std::memcpy(&moved, from, kBytes);
  std::memcpy(to, &moved, kBytes);
}

// Copies between a packet and the guest's memory, and touches nothing behind the bytes: short frames in moves of fixed size, of
// which the last ones overlap.
inline void CopyBytes(uint8_t* to, const uint8_t* from, size_t bytes) {
  constexpr size_t kHalf = kLine / 2, kQuarter = kLine / 4;
  if (bytes < kQuarter || bytes > kShortCopy) [[unlikely]] {
    std::memcpy(to, from, bytes);
  } else if (bytes <= kHalf) {
    MoveBytes<kQuarter>(to, from);
    MoveBytes<kQuarter>(to + bytes - kQuarter, from + bytes - kQuarter);
  } else {
    size_t at = 0;
    for (; bytes - at > kLine; at += kLine) {
      MoveBytes<kHalf>(to + at, from + at);
      MoveBytes<kHalf>(to + at + kHalf, from + at + kHalf);
    }
    if (bytes - at > kHalf) MoveBytes<kHalf>(to + at, from + at);
    MoveBytes<kHalf>(to + bytes - kHalf, from + bytes - kHalf);
  }
}

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_WORDS_INTERNAL_H_
