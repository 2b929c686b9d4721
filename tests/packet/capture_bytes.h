// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_CAPTURE_BYTES_H_
#define SLUICE_TESTS_PACKET_CAPTURE_BYTES_H_

// Capture files put together field by field, in either byte order, right or wrong: what CaptureWriter would not write.

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/support/frames.h"

namespace sluice::testing {

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class FileBytes {
 public:
  explicit FileBytes(bool swapped) : swapped_(swapped) {}

  Bytes U16(uint16_t value) const { return Number(value, 2); }
  Bytes U32(uint32_t value) const { return Number(value, 4); }
  Bytes U64(uint64_t value) const { return Number(value, 8); }

  struct PcapRecord {
    uint32_t seconds;
    uint32_t fraction;
    uint32_t original;
    Bytes bytes;
    std::optional<uint32_t> claimed = {};  // captured length, where not the true one
  };
  Bytes Pcap(uint32_t magic, const std::vector<PcapRecord>& records) const {
    Bytes file = U32(magic) + U16(2) + U16(4) + U64(0) + U32(65535) + U32(1);
    for (const PcapRecord& r : records) {
      const uint32_t captured = r.claimed.value_or(static_cast<uint32_t>(r.bytes.size()));
      file = file + U32(r.seconds) + U32(r.fraction) + U32(captured) + U32(r.original) + r.bytes;
    }
    return file;
  }

  Bytes Block(uint32_t type, const Bytes& body) const {
    const Bytes padded = Pad(body);
    const auto length = static_cast<uint32_t>(padded.size() + 12);
    return U32(type) + U32(length) + padded + U32(length);
  }
  Bytes Option(uint16_t code, const Bytes& value) const {
    return U16(code) + U16(static_cast<uint16_t>(value.size())) + Pad(value);
  }
  Bytes Section() const { return Block(0x0a0d0d0a, U32(0x1a2b3c4d) + U16(1) + U16(0) + U64(~0ull)); }
  Bytes Interface(uint16_t link_type, uint32_t snap, const Bytes& options) const {
    return Block(1, U16(link_type) + U16(0) + U32(snap) + options);
  }
  Bytes Enhanced(uint32_t interface, uint64_t ticks, uint32_t original, const Bytes& bytes,
                 std::optional<uint32_t> claimed = {}) const {
    return Block(6, U32(interface) + Ticks(ticks) + Lengths(bytes, original, claimed) + bytes);
  }
  Bytes Old(uint16_t interface, uint16_t drops, uint64_t ticks, uint32_t original, const Bytes& bytes) const {
    return Block(2, U16(interface) + U16(drops) + Ticks(ticks) + Lengths(bytes, original, {}) + bytes);
  }
  Bytes Simple(uint32_t original, const Bytes& bytes) const { return Block(3, U32(original) + bytes); }

 private:
  Bytes Number(uint64_t value, size_t size) const {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
      bytes[swapped_ ? size - 1 - i : i] = static_cast<uint8_t>(value >> 8 * i);
    return bytes;
  }
  Bytes Ticks(uint64_t ticks) const {
    return U32(static_cast<uint32_t>(ticks >> 32)) + U32(static_cast<uint32_t>(ticks));
  }
  Bytes Lengths(const Bytes& bytes, uint32_t original, std::optional<uint32_t> claimed) const {
    return U32(claimed.value_or(static_cast<uint32_t>(bytes.size()))) + U32(original);
  }
  static Bytes Pad(Bytes bytes) {
    bytes.resize((bytes.size() + 3) / 4 * 4);
    return bytes;
  }

  const bool swapped_;  // big-endian; else little-endian, whatever this machine is
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_CAPTURE_BYTES_H_
