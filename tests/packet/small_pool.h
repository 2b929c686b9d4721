// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_SMALL_POOL_H_
#define SLUICE_TESTS_PACKET_SMALL_POOL_H_

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::testing {

// A pool that is made in no time.
inline std::unique_ptr<PacketPool> SmallPool(PacketPoolOptions options = {.packets = 256}) {
  options.huge_pages = HugePages::kOff;
  auto pool = PacketPool::Create(options);
  if (!pool.ok()) FAIL(pool.status().ToString());
  return *std::move(pool);
}

// One packet that carries `text` in its own buffer.
inline PacketPtr Filled(PacketPool& pool, absl::string_view text) {
  PacketPtr packet = pool.GetOne();
  REQUIRE(packet != nullptr);
  std::memcpy(packet->data(), text.data(), text.size());
  packet->SetLength(static_cast<uint32_t>(text.size()));
  return packet;
}

// The whole frame as text, across fragments.
inline std::string Text(const Packet& packet) {
  std::string text;
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    text.append(reinterpret_cast<const char*>(piece->data()), piece->head_length());
  }
  return text;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_SMALL_POOL_H_
