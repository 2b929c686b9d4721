// SPDX-License-Identifier: Apache-2.0
#include "nic/softverbs/frame_check_internal.h"

namespace sluice {
namespace {

constexpr uint32_t kPolynomial = 0xedb88320;  // of CRC-32, lowest bit first

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ ((rest & 1) != 0 ? kPolynomial : 0);
    table[byte] = rest;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

}  // namespace

FrameCheck FrameCheckOf(const Packet& packet) {
  uint32_t rest = ~uint32_t{0};
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    for (uint32_t i = 0; i < piece->head_length(); ++i) {
      rest = rest >> 8 ^ kTable[(rest ^ piece->data()[i]) & 0xff];
    }
  }
  rest = ~rest;
  return {static_cast<uint8_t>(rest), static_cast<uint8_t>(rest >> 8), static_cast<uint8_t>(rest >> 16),
          static_cast<uint8_t>(rest >> 24)};
}

}  // namespace sluice
