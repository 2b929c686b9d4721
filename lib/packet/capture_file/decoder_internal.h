// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_CAPTURE_FILE_DECODER_INTERNAL_H_
#define SLUICE_LIB_PACKET_CAPTURE_FILE_DECODER_INTERNAL_H_

// The two file formats behind one interface, and the numbers they consist of.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "packet/capture_file/input_internal.h"
#include "sluice/packet/capture_file.h"

namespace sluice {

// draft-ietf-opsawg-pcap, 4 and 5.
inline constexpr uint32_t kPcapMicroMagic = 0xa1b2c3d4;
inline constexpr uint32_t kPcapNanoMagic = 0xa1b23c4d;
inline constexpr uint16_t kPcapMajor = 2;
inline constexpr uint16_t kPcapMinor = 4;
inline constexpr size_t kPcapFileHeader = 24;
inline constexpr size_t kPcapRecordHeader = 16;

// draft-ietf-opsawg-pcapng, 3.1 and 4; the same number in both byte orders.
inline constexpr uint32_t kSectionHeaderBlock = 0x0a0d0d0a;
inline constexpr uint32_t kInterfaceBlock = 1;
inline constexpr uint32_t kOldPacketBlock = 2;
inline constexpr uint32_t kSimplePacketBlock = 3;
inline constexpr uint32_t kEnhancedPacketBlock = 6;
inline constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
inline constexpr uint16_t kPcapngMajor = 1;

// Options: 3.5, 4.1, 4.2.
inline constexpr uint16_t kOptionEnd = 0;
inline constexpr uint16_t kOptionComment = 1;
inline constexpr uint16_t kOptionApplication = 4;  // of a section
inline constexpr uint16_t kOptionName = 2;         // of an interface, as the next two
inline constexpr uint16_t kOptionTimeUnit = 9;
inline constexpr uint16_t kOptionTimeOffset = 14;

inline constexpr Nanoseconds kSecond = 1'000'000'000;

class CaptureDecoder {
 public:
  virtual ~CaptureDecoder() = default;

  virtual absl::StatusOr<bool> Read(CaptureRecord& record) = 0;
  virtual CaptureFormat format() const = 0;

  const std::vector<CaptureInterface>& interfaces() const { return interfaces_; }

 protected:
  std::vector<CaptureInterface> interfaces_;
};

// Each takes over a file of which the first four bytes have been read.
absl::StatusOr<std::unique_ptr<CaptureDecoder>> OpenPcap(CaptureInput input, FileOrder order,
                                                         bool nanoseconds);
absl::StatusOr<std::unique_ptr<CaptureDecoder>> OpenPcapng(CaptureInput input);

// `ticks` of a pcapng time unit (if_tsresol) in nanoseconds: 10^-unit s, or 2^-(unit - 128) s from 128. Times
// beyond the year 2554 stop there.
Nanoseconds FromTicks(uint64_t ticks, uint8_t unit);

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_CAPTURE_FILE_DECODER_INTERNAL_H_
