// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "packet/freed_packet_internal.h"
#include "sluice/packet/packet_pool.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#endif

namespace sluice {
namespace {

constexpr uint8_t kPattern = 0xDB;
constexpr uint32_t kPatternWord = 0xDBDBDBDB;

// A programming error was caught. This is an assertion: it exists in debug builds only.
[[noreturn]] void Die(const Packet& packet, const char* what) {
  const PacketPool& pool = *packet.pool();
  std::fprintf(stderr, "sluice: pool '%s', packet %u: %s\n", pool.options().name.c_str(),
               pool.IndexOf(packet), what);
  std::abort();
}

bool HoldsPattern(const uint8_t* bytes, size_t size) {
  return std::all_of(bytes, bytes + size, [](uint8_t byte) { return byte == kPattern; });
}

}  // namespace

void FreedPacket::Bury(Packet& packet) {
  if ((packet.home_ & Packet::kFree) != 0) Die(packet, "freed twice");
  std::memset(packet.buffer_, kPattern, packet.buffer_size());
  ASAN_POISON_MEMORY_REGION(packet.buffer_, packet.buffer_size());
  packet.data_ = nullptr;
  packet.length_ = packet.head_length_ = kPatternWord;
  packet.home_ |= Packet::kFree | Packet::kPoisoned;
}

void FreedPacket::Exhume(Packet& packet) {
  ASAN_UNPOISON_MEMORY_REGION(packet.buffer_, packet.buffer_size());
  if ((packet.home_ & Packet::kFree) == 0) Die(packet, "its metadata was written while it was free");
  const bool poisoned = (packet.home_ & Packet::kPoisoned) != 0;
  packet.home_ &= ~(Packet::kFree | Packet::kPoisoned);
  if (!poisoned) return;
  if (packet.data_ != nullptr || packet.length_ != kPatternWord || packet.head_length_ != kPatternWord) {
    Die(packet, "its metadata was written while it was free");
  }
  if (!HoldsPattern(packet.buffer_, packet.buffer_size()))
    Die(packet, "its buffer was written while it was free");
}

void FreedPacket::Forget(Packet& packet) {
  if ((packet.home_ & Packet::kFree) == 0) Die(packet, "still in use when its pool ends");
  // The address may be mapped again by somebody else.
  ASAN_UNPOISON_MEMORY_REGION(packet.buffer_, packet.buffer_size());
}

}  // namespace sluice
