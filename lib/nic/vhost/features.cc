// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nic/vhost/features_internal.h"

namespace sluice {
namespace {

using enum VirtioFeature;

constexpr uint32_t kHeader = 12;        // virtio_net_hdr_v1; num_buffers is always there since 1.0
constexpr uint32_t kLegacyHeader = 10;  // without it
constexpr uint32_t kHashHeader = 20;    // virtio_net_hdr_v1_hash

uint32_t HeaderBytes(uint64_t features) {
  if (Has(features, kHashReport)) return kHashHeader;
  return Has(features, kMergeableBuffers) || Has(features, kVersion1) ? kHeader : kLegacyHeader;
}
constexpr uint16_t kUsoSegments = 64;  // UDP_MAX_SEGMENTS of guests before Linux 6.9

// What is offered where a mode is wanted: what tells that it is in force, and what may come with it.
struct Mode {
  const char* name;
  Want VhostNicOptions::*wanted;
  std::initializer_list<VirtioFeature> features;
  std::initializer_list<VirtioFeature> besides = {};
};
const Mode kModes[] = {
    {"checksums", &VhostNicOptions::checksums, {kChecksum, kGuestChecksum}},
    {"tso", &VhostNicOptions::tso, {kGuestTso4, kGuestTso6, kHostTso4, kHostTso6}, {kGuestEcn, kHostEcn}},
    {"uso", &VhostNicOptions::uso, {kGuestUso4, kGuestUso6, kHostUso}},
    {"mergeable", &VhostNicOptions::mergeable, {kMergeableBuffers}},
    {"packed", &VhostNicOptions::packed, {kPacked}},
    {"in-order", &VhostNicOptions::in_order, {kInOrder}},
    {"hash-report", &VhostNicOptions::hash_report, {kHashReport}},
};

uint64_t BitsOf(const std::initializer_list<VirtioFeature>& features) {
  uint64_t bits = 0;
  for (const VirtioFeature feature : features) bits |= BitOf(feature);
  return bits;
}

uint64_t BitsWanted(const VhostNicOptions& options, Want wanted) {
  uint64_t bits = 0;
  for (const Mode& mode : kModes) bits |= options.*mode.wanted == wanted ? BitsOf(mode.features) : 0;
  return bits;
}

// Of the control queue the hypervisor takes care; it offers that queue only when we do.
constexpr VirtioFeature kAlways[] = {kStatus,        kControlQueue, kControlReceive, kControlVlan,
                                     kGuestAnnounce, kQueuePairs,   kControlAddress, kAnyLayout,
                                     kIndirect,      kEventIndex,   kVersion1};

}  // namespace

uint64_t OfferedFeatures(const VhostNicOptions& options) {
  uint64_t always = 0;
  for (const VirtioFeature feature : kAlways) always |= BitOf(feature);
  for (const Mode& mode : kModes) always |= options.*mode.wanted == Want::kOff ? 0 : BitsOf(mode.besides);
  return always | BitsWanted(options, Want::kPrefer) | RequiredFeatures(options);
}

uint64_t RequiredFeatures(const VhostNicOptions& options) { return BitsWanted(options, Want::kRequire); }

RingShape ShapeOf(uint64_t features, uint32_t size) {
  return {.size = size,
          .header_bytes = HeaderBytes(features),
          .packed = Has(features, kPacked),
          .indirect = Has(features, kIndirect),
          .event_index = Has(features, kEventIndex),
          .in_order = Has(features, kInOrder),
          .mergeable = Has(features, kMergeableBuffers),
          .takes_verdicts = Has(features, kGuestChecksum),
          .asks = (features & BitsOf({kChecksum, kHostTso4, kHostTso6, kHostEcn, kHostUso})) != 0};
}

// A segmented frame for a guest that takes only one version of IP would have to be looked at to know: such guests get none.
FinisherOptions WhatGuestFinishes(uint64_t features, uint32_t max_frame, PacketPool* pool) {
  const bool checksums = Has(features, kGuestChecksum);
  const bool tso = Has(features, kGuestTso4) && Has(features, kGuestTso6);
  const bool uso = Has(features, kGuestUso4) && Has(features, kGuestUso6);
  return {.max_frame = max_frame,
          .carries_l4_checksum = checksums,
          .carries_tso = checksums && tso,
          .carries_cwr = Has(features, kGuestEcn),
          .uso_segments = checksums && uso ? kUsoSegments : uint16_t{0},
          .carries_fragments = true,
          .pool = pool};
}

std::vector<ModeInForce> ModesOf(const VhostNicOptions& options, bool connected, uint64_t features) {
  std::vector<ModeInForce> modes;
  for (const Mode& mode : kModes) {
    const Want wanted = options.*mode.wanted;
    const bool active = connected && (features & BitsOf(mode.features)) == BitsOf(mode.features);
    std::string reason;
    if (!active && wanted != Want::kOff)
      reason = connected ? "the guest has not taken it" : "there is no guest";
    modes.push_back({.name = mode.name, .wanted = wanted, .active = active, .reason = std::move(reason)});
  }
  return modes;
}

}  // namespace sluice
