// SPDX-License-Identifier: Apache-2.0
// What a device can do, as it says itself.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/device_internal.h"
#include "nic/verbs/places_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/rss.h"

namespace sluice {
namespace {

constexpr uint32_t kFrameOverMtu = 14 + 4;  // Ethernet header and one VLAN tag
constexpr uint16_t kMostQueues = 64;        // of each kind
constexpr uint32_t kMostRing = 32768;
constexpr uint32_t kMostRules = 65535;  // as many as there are priorities: nothing says how many a card holds

uint32_t AtLeastZero(int count) { return static_cast<uint32_t>(std::max(count, 0)); }

uint16_t QueuesOf(const ibv_device_attr& attr) {
  const uint32_t pairs = AtLeastZero(std::min(attr.max_qp, attr.max_cq)) / 2;
  return static_cast<uint16_t>(std::clamp<uint32_t>(pairs, 1, kMostQueues));
}

}  // namespace

void VerbsPort::Note(std::string name, std::string missing, std::string detail) {
  const bool found = missing.empty();
  described_.push_back(
      {.name = std::move(name), .found = found, .detail = found ? std::move(detail) : std::move(missing)});
}

void VerbsPort::Describe(const ibv_device_attr_ex& attr) {
  DescribeSizes(attr.orig_attr);
  const bool sums = (attr.raw_packet_caps & IBV_RAW_PACKET_CAP_IP_CSUM) != 0;
  able_.send_l4_checksum = able_.receive_l3_checksum = able_.receive_l4_checksum = sums;
  Note("checksums", sums ? "" : "raw_packet_caps has no IP_CSUM", "of TCP and UDP, outside of tunnels");
  Note("fragments", able_.fragments ? "" : "max_sge is 1", absl::StrCat("up to ", max_pieces_, " pieces"));

  DescribeFrames(attr);

  const VerbsPtr<ibv_comp_channel> channel(ibv_create_comp_channel(context_));
  able_.sleeps = channel != nullptr;
  Note("sleep", able_.sleeps ? "" : CallFailed("ibv_create_comp_channel", errno), "completion channels");

  ibv_counters_init_attr init{};
  const VerbsPtr<ibv_counters> counters(ibv_create_counters(context_, &init));
  able_.rule_counters = counters != nullptr;
  Note("rule counters", able_.rule_counters ? "" : CallFailed("ibv_create_counters", errno));
}

void VerbsPort::DescribeSizes(const ibv_device_attr& attr) {
  able_.max_rx_queues = able_.max_tx_queues = QueuesOf(attr);
  able_.max_ring_size =
      std::bit_floor(std::min({AtLeastZero(attr.max_qp_wr), AtLeastZero(attr.max_cqe), kMostRing}));
  able_.max_frame = mtu_ + kFrameOverMtu;
  able_.max_rules = kMostRules;
  max_pieces_ = std::max(AtLeastZero(attr.max_sge), uint32_t{1});
  able_.fragments = max_pieces_ > 1;
}

// What the card does to frames, beside their checksums.
void VerbsPort::DescribeFrames(const ibv_device_attr_ex& attr) {
  constexpr uint32_t kRawPackets = 1u << IBV_QPT_RAW_PACKET;
  const auto missing = [](bool found, const char* why) { return std::string(found ? "" : why); };
  const bool cuts = (attr.tso_caps.supported_qpts & kRawPackets) != 0;
  if (cuts && able_.send_l4_checksum)
    max_segmented_ = attr.tso_caps.max_tso;  // segments have sums of their own
  Note("segmentation",
       missing(max_segmented_ > 0, cuts ? "there are no checksums" : "tso_caps has no raw packets"),
       absl::StrCat("of TCP, outside of tunnels, up to ", max_segmented_, " bytes"));
  strips_ = (attr.raw_packet_caps & IBV_RAW_PACKET_CAP_CVLAN_STRIPPING) != 0;
  Note("VLAN stripping", missing(strips_, "raw_packet_caps has no CVLAN_STRIPPING"));
  keeps_fcs_ = (attr.raw_packet_caps & IBV_RAW_PACKET_CAP_SCATTER_FCS) != 0;
  Note("frame check sequences", missing(keeps_fcs_, "raw_packet_caps has no SCATTER_FCS"));
  const ibv_packet_pacing_caps& pacing = attr.packet_pacing_caps;
  if ((pacing.supported_qpts & kRawPackets) != 0) max_rate_ = pacing.qp_rate_limit_max;
  Note("pacing", missing(max_rate_ > 0, "packet_pacing_caps has no raw packets"),
       absl::StrCat("up to ", max_rate_, " kbit/s"));
  stamp_mask_ = attr.completion_timestamp_mask;
  stamps_a_millisecond_ = attr.hca_core_clock;
}

void VerbsPort::DescribeSpread(const ibv_device_attr_ex& attr) {
  constexpr uint32_t kRawPackets = 1u << IBV_QPT_RAW_PACKET;
  const ibv_rss_caps& caps = attr.rss_caps;
  const uint32_t entries =
      std::bit_floor(std::min<uint32_t>(caps.max_rwq_indirection_table_size, RssConfig::kMaxTable));
  const bool toeplitz = (caps.rx_hash_function & IBV_RX_HASH_FUNC_TOEPLITZ) != 0;
  if (attr.max_wq_type_rq == 0) return Note("RSS", "max_wq_type_rq is 0");
  if ((caps.supported_qpts & kRawPackets) == 0 || !toeplitz || entries == 0) {
    return Note("RSS", "rss_caps has no Toeplitz hash for raw packets");
  }
  if (!VerbsPlaces(priorities()).doubled()) {
    return Note("RSS",
                absl::StrCat("rules of ", priorities(), " priorities cannot tell the kinds of frames"));
  }
  if (trials_.no_spread != 0) {
    return Note("RSS", CallFailed("a work queue, and a queue pair that spreads", trials_.no_spread));
  }
  able_.rss_table_size = entries;
  able_.rss_update = true;
  able_.max_rx_queues =
      static_cast<uint16_t>(std::min({uint32_t{able_.max_rx_queues}, attr.max_wq_type_rq, entries}));
  Note("RSS", "", absl::StrCat("tables of up to ", entries, " entries"));
}

}  // namespace sluice
