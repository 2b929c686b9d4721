// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_CAPTURE_RECORD_FLAW_INTERNAL_H_
#define SLUICE_LIB_NIC_CAPTURE_RECORD_FLAW_INTERNAL_H_

// Whether a record of a capture file can be a frame of ours.

#include <cstdint>
#include <optional>

#include "nic/offload/first_lines_internal.h"
#include "sluice/base/drop_reason.h"
#include "sluice/packet/capture_file.h"

namespace sluice {

// Bytes of a frame, in files that are read and in those that are written.
inline constexpr uint32_t kLongestCaptured = 65535;

inline std::optional<DropReason> FlawOf(const CaptureRecord& record) {
  if (record.link_type != kLinkEthernet) return DropReason::kMalformed;
  if (record.bytes.size() < FirstLines::kShortest) return DropReason::kTooShort;
  if (record.bytes.size() > kLongestCaptured) return DropReason::kTooLong;
  return std::nullopt;
}

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_CAPTURE_RECORD_FLAW_INTERNAL_H_
