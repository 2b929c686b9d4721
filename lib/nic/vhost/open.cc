// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "nic/vhost/message_internal.h"
#include "nic/vhost/vhost_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

static_assert(GuestRings::kMostPairs == kVhostMostQueuePairs);

constexpr uint32_t kFrameOverMtu = 14 + 4;  // Ethernet header and a VLAN tag

Capabilities WhatItCan(const VhostNicOptions& options) {
  return {.max_rx_queues = options.pairs,
          .max_tx_queues = options.pairs,
          .max_ring_size = kVhostLargestRing,
          .max_frame = options.mtu + kFrameOverMtu,
          .fragments = true,
          .sleeps = true};
}

absl::Status Refuse(const VhostNicOptions& options, const char* option, const std::string& what,
                    const std::string& remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = absl::StrCat("vhost ", options.path),
                                                          .stage = "open",
                                                          .capability = option,
                                                          .what = what,
                                                          .remedy = remedy});
}

absl::Status CheckCopies(const VhostNicOptions& options) {
  const DeferredCopyOptions& copies = options.copies;
  if (copies.at_least == 0) return Refuse(options, "copies.at_least", "0", "give at least 1 byte");
  if (copies.patience <= absl::ZeroDuration() || copies.patience > absl::Seconds(1))
    return Refuse(options, "copies.patience", absl::FormatDuration(copies.patience),
                  "give more than nothing, and at most a second");
  return absl::OkStatus();
}

absl::Status Check(const VhostNicOptions& options) {
  constexpr uint32_t kLeastMtu = 68;  // RFC 791
  constexpr uint32_t kMostMtu = 65517;
  if (options.path.empty()) return Refuse(options, "path", "none given", "name the socket");
  if (options.pairs == 0 || options.pairs > GuestRings::kMostPairs)
    return Refuse(options, "pairs", absl::StrCat(options.pairs), "give 1 to 64");
  if (options.mtu < kLeastMtu || options.mtu > kMostMtu)
    return Refuse(options, "mtu", absl::StrCat(options.mtu),
                  absl::StrCat("give ", kLeastMtu, " to ", kMostMtu));
  for (const Want segments : {options.tso, options.uso}) {
    if (segments == Want::kRequire && options.checksums == Want::kOff)
      return Refuse(options, "checksums", "off, and segments are required", "want checksums too");
  }
  return CheckCopies(options);
}

}  // namespace

VhostNicImpl::VhostNicImpl(const VhostNicOptions& options)
    : options_(options),
      name_(absl::StrCat("vhost ", options.path)),
      capabilities_(WhatItCan(options)),
      rings_(options.pairs),
      told_faults_(2 * size_t{options.pairs}, RingFault::kNone) {}

VhostNicImpl::~VhostNicImpl() { Stop().IgnoreError(); }

absl::StatusOr<std::unique_ptr<VhostNic>> OpenVhostNic(const VhostNicOptions& options) {
  if (absl::Status checked = Check(options); !checked.ok()) return checked;
  return std::make_unique<VhostNicImpl>(options);
}

}  // namespace sluice
