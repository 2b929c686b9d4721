// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_WORDS_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_WORDS_INTERNAL_H_

// Single words of memory that the guest reads and writes at the same time. Little-endian, as is this machine (2.4).

#include <bit>
#include <cstdint>
#include <cstring>

namespace sluice {

static_assert(std::endian::native == std::endian::little);

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

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_WORDS_INTERNAL_H_
