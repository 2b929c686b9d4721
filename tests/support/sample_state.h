// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_SAMPLE_STATE_H_
#define SLUICE_TESTS_SUPPORT_SAMPLE_STATE_H_

// A state with a field of every type, nested in itself, and the bytes around a section made by hand: what the
// tests and the fuzz target of saved_state.h load.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/base/drop_reason.h"
#include "sluice/base/saved_state.h"

namespace sluice::testing {

struct SampleState {
  uint64_t wide = 0;
  uint8_t narrow = 0;
  int64_t signed_wide = 0;
  int16_t signed_narrow = 0;
  bool flag = false;
  PortId port = {};
  DropReason reason = DropReason::kNoBuffer;
  std::string name = {};
  std::vector<uint8_t> blob = {};
  std::array<uint8_t, 6> address{};
  std::vector<SampleState> children = {};
  uint32_t added_later = 7;

  static constexpr absl::string_view kStateName = "sample";
  static constexpr uint16_t kStateVersion = 3;

  bool operator==(const SampleState&) const = default;

  void Save(StateWriter& out) const {
    out.Put(1, wide);
    out.Put(2, narrow);
    out.Put(3, signed_wide);
    out.Put(4, signed_narrow);
    out.Put(5, flag);
    out.Put(6, port);
    out.Put(7, reason);
    out.Put(8, name);
    out.Put(9, blob);
    out.Put(10, address);
    out.Put(11, children);
    out.Put(12, added_later);
  }
  void Load(StateReader& in) {
    in.Read(1, wide);
    in.Read(2, narrow);
    in.Read(3, signed_wide);
    in.Read(4, signed_narrow);
    in.Read(5, flag);
    in.Read(6, port);
    in.Read(7, reason, DropReason::kStopped);
    in.Read(8, name);
    in.Read(9, blob);
    in.Read(10, address);
    in.Read(11, children);
    if (in.Has(12)) in.Read(12, added_later);
    if (name == "refused") in.Refuse("the name is \"refused\"");
  }
};

// Bit by bit, as RFC 3720 B.4 describes it: the twin of the library's checksum.
inline uint32_t SlowCrc32c(absl::Span<const uint8_t> bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78 : 0);
  }
  return ~crc;
}

inline void AppendLittleEndian(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

inline void AppendRecord(std::vector<uint8_t>& section, uint16_t field, uint8_t type,
                         absl::Span<const uint8_t> payload) {
  AppendLittleEndian(section, field, 2);
  AppendLittleEndian(section, type, 1);
  AppendLittleEndian(section, payload.size(), 8);
  section.insert(section.end(), payload.begin(), payload.end());
}

// Magic, format, length and a right checksum around whatever `section` says.
inline std::vector<uint8_t> Wrapped(absl::Span<const uint8_t> section, uint16_t format = 1) {
  std::vector<uint8_t> whole = {0x8A, 's', 'l', 'u', 'i', 'c', 'e', '\n'};
  AppendLittleEndian(whole, format, 2);
  AppendLittleEndian(whole, section.size(), 8);
  whole.insert(whole.end(), section.begin(), section.end());
  AppendLittleEndian(whole, SlowCrc32c(whole), 4);
  return whole;
}

// The section in `whole`, which must be well formed.
inline std::vector<uint8_t> Unwrapped(const std::vector<uint8_t>& whole) {
  return {whole.begin() + 18, whole.end() - 4};
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_SAMPLE_STATE_H_
