// SPDX-License-Identifier: Apache-2.0
// What the card is, and whether that can be.
#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/model/model_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint32_t kLeastMaxFrame = 60;  // IEEE 802.3, 3.2.8, without FCS

absl::Status Invalid(const ModelNicOptions& options, std::string what, std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = absl::StrCat("model ", options.name),
                                                          .stage = "open",
                                                          .what = std::move(what),
                                                          .remedy = std::move(remedy)});
}

absl::Status Lacking(const ModelNicOptions& options, std::string capability, std::string field) {
  return ErrorStatus(
      absl::StatusCode::kUnimplemented,
      {.device = absl::StrCat("model ", options.name),
       .stage = "open",
       .capability = std::move(capability),
       .what = "the hardware cannot",
       .remedy = absl::StrCat("do it in software behind the queue, or set ModelHardware::", field)});
}

bool QueuesFit(uint16_t count) { return count >= 1 && count <= ModelReceiver::kMaxQueues; }

absl::Status CheckHardware(const ModelNicOptions& options) {
  const ModelHardware& hardware = options.hardware;
  if (!QueuesFit(hardware.max_rx_queues) || !QueuesFit(hardware.max_tx_queues)) {
    return Invalid(options, absl::StrCat(hardware.max_rx_queues, "+", hardware.max_tx_queues, " queues"),
                   absl::StrCat("use 1 to ", ModelReceiver::kMaxQueues, " of each kind"));
  }
  if (!std::has_single_bit(hardware.max_ring_size)) {
    return Invalid(options, absl::StrCat("max_ring_size ", hardware.max_ring_size), "use a power of two");
  }
  if (hardware.max_frame < kLeastMaxFrame) {
    return Invalid(options, absl::StrCat("max_frame ", hardware.max_frame),
                   absl::StrCat("use at least ", kLeastMaxFrame));
  }
  const uint32_t table = hardware.rss_table_size;
  if (table != 0 && (!std::has_single_bit(table) || table > RssConfig::kMaxTable)) {
    return Invalid(options, absl::StrCat("rss_table_size ", table),
                   absl::StrCat("use 0, or a power of two up to ", RssConfig::kMaxTable));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const ModelNicOptions& options) {
  if (absl::Status checked = CheckHardware(options); !checked.ok()) return checked;
  const ModelHardware& hardware = options.hardware;
  if (options.strip_vlan && !hardware.vlan_strip) return Lacking(options, "VLAN strip", "vlan_strip");
  if (options.verify_checksums && !hardware.receive_checksums) {
    return Lacking(options, "receive checksums", "receive_checksums");
  }
  if (options.coalesce && !hardware.coalescing) return Lacking(options, "receive coalescing", "coalescing");
  if (options.stamp && !hardware.timestamps) return Lacking(options, "timestamps", "timestamps");
  if (options.drop_bad_checksums && !options.verify_checksums) {
    return Invalid(options, "drop_bad_checksums without verify_checksums", "set both");
  }
  if (options.table_write_delay.time < absl::ZeroDuration()) {
    return Invalid(options, "negative table_write_delay", "use zero or more");
  }
  if (!options.coalesce) return absl::OkStatus();
  return Coalescer::Create(*options.coalesce).status();
}

Capabilities CapabilitiesOf(const ModelHardware& hardware, const WireTraits& wire) {
  return {.max_rx_queues = hardware.max_rx_queues,
          .max_tx_queues = hardware.max_tx_queues,
          .max_ring_size = hardware.max_ring_size,
          .max_frame = std::min(hardware.max_frame, wire.max_frame),
          .max_rules = hardware.max_rules,
          .rule_counters = hardware.max_rules > 0,
          .rss_table_size = hardware.rss_table_size,
          .rss_update = hardware.rss_update && hardware.rss_table_size > 0,
          .vlan_strip = hardware.vlan_strip,
          .vlan_insert = hardware.vlan_insert,
          .receive_l3_checksum = hardware.receive_checksums,
          .receive_l4_checksum = hardware.receive_checksums,
          .send_l3_checksum = hardware.send_checksums,
          .send_l4_checksum = hardware.send_checksums,
          .segmentation = hardware.segmentation,
          .coalescing = hardware.coalescing,
          .fragments = hardware.fragments && wire.carries_fragments,
          .timestamps = hardware.timestamps,
          .sleeps = wire.sleeps};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelNic>> ModelNic::Open(const ModelNicOptions& options,
                                                         std::unique_ptr<Wire> wire) {
  if (wire == nullptr) return Invalid(options, "no wire", "give it an end of one: MakeWirePair, for example");
  if (absl::Status checked = CheckOptions(options); !checked.ok()) return checked;
  const Capabilities able = CapabilitiesOf(options.hardware, wire->traits());
  return std::make_unique<ModelNicCore>(options, able, std::move(wire));
}

ModelNicCore::ModelNicCore(const ModelNicOptions& options, const Capabilities& able,
                           std::unique_ptr<Wire> wire)
    : options_(options),
      able_(able),
      name_(absl::StrCat("model ", options.name)),
      clock_(options.clock != nullptr ? *options.clock : Clock::Monotonic()),
      wire_(std::move(wire)),
      receiver_(options_, able_, clock_, *wire_) {
  for (uint16_t i = 0; i < able_.max_tx_queues; ++i) {
    tx_queues_.push_back(std::make_unique<ModelTxQueue>(*wire_, QueueId{i}));
  }
}

absl::Status ModelNicCore::Refuse(absl::StatusCode code, const char* stage, std::string what,
                                  std::string remedy) const {
  return ErrorStatus(code,
                     {.device = name_, .stage = stage, .what = std::move(what), .remedy = std::move(remedy)});
}

absl::Status ModelNicCore::Lacks(const char* stage, std::string capability, std::string remedy) const {
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = name_,
                                                        .stage = stage,
                                                        .capability = std::move(capability),
                                                        .what = "the hardware cannot",
                                                        .remedy = std::move(remedy)});
}

}  // namespace sluice
