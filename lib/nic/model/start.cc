// SPDX-License-Identifier: Apache-2.0
// Running and not running: queues, wire, link and its events.
#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/model/model_nic_internal.h"

namespace sluice {
namespace {

bool RingFits(uint32_t ring, uint32_t most) { return std::has_single_bit(ring) && ring <= most; }

FinisherOptions Finishing(const ModelHardware& hardware, const WireTraits& wire, const Capabilities& able,
                          PacketPool* pool) {
  return {.max_frame = able.max_frame,
          .carries_checksums = wire.carries_offloads && hardware.send_checksums,
          .carries_segmenting = wire.carries_offloads && hardware.send_checksums && hardware.segmentation,
          .carries_l4_checksum = wire.carries_l4_checksum && hardware.send_checksums,
          .carries_tso = wire.carries_tso && hardware.send_checksums && hardware.segmentation,
          .uso_segments = hardware.send_checksums && hardware.segmentation ? wire.uso_segments : uint16_t{0},
          .carries_vlan = wire.carries_offloads && hardware.vlan_insert,
          .carries_fragments = able.fragments,
          .pool = pool};
}

}  // namespace

absl::Status ModelNicCore::CheckStart(const QueueOptions& queues) const {
  const auto refuse = [this](std::string what, std::string remedy) {
    return Refuse(absl::StatusCode::kInvalidArgument, "start", std::move(what), std::move(remedy));
  };
  if (running()) return Refuse(absl::StatusCode::kFailedPrecondition, "start", "is running", "stop it first");
  if (queues.pool == nullptr) return refuse("no pool", "set QueueOptions::pool");
  if (queues.rx_queues < 1 || queues.rx_queues > able_.max_rx_queues) {
    return refuse(absl::StrCat(queues.rx_queues, " receive queues"),
                  absl::StrCat("use 1 to ", able_.max_rx_queues));
  }
  if (queues.tx_queues < 1 || queues.tx_queues > able_.max_tx_queues) {
    return refuse(absl::StrCat(queues.tx_queues, " transmit queues"),
                  absl::StrCat("use 1 to ", able_.max_tx_queues));
  }
  if (!RingFits(queues.rx_ring, able_.max_ring_size) || !RingFits(queues.tx_ring, able_.max_ring_size)) {
    return refuse(absl::StrCat("rings of ", queues.rx_ring, " and ", queues.tx_ring),
                  absl::StrCat("use powers of two up to ", able_.max_ring_size));
  }
  return absl::OkStatus();
}

absl::Status ModelNicCore::Start(const QueueOptions& queues) {
  if (absl::Status checked = CheckStart(queues); !checked.ok()) return checked;
  const WireOptions wiring = {.lanes = queues.tx_queues, .ring = queues.tx_ring, .pool = queues.pool};
  if (absl::Status opened = wire_->Open(wiring); !opened.ok()) return opened;
  if (absl::Status opened = receiver_.Open(queues, FirstTable(queues.rx_queues)); !opened.ok()) {
    wire_->Close();
    return opened;
  }
  const FinisherOptions finishing = Finishing(options_.hardware, wire_->traits(), able_, queues.pool);
  PairEnd* const pair = able_.fragments ? receiver_.pair() : nullptr;
  for (uint16_t i = 0; i < queues.tx_queues; ++i) {
    tx_queues_[i]->Open(finishing, pair != nullptr ? &pair->out() : nullptr);
  }
  rx_count_ = queues.rx_queues;
  tx_count_ = queues.tx_queues;
  return absl::OkStatus();
}

absl::Status ModelNicCore::Stop() {
  if (!running()) return absl::OkStatus();
  receiver_.Close();
  for (const auto& queue : tx_queues_) queue->Close();
  wire_->Close();
  rx_count_ = tx_count_ = 0;
  return absl::OkStatus();
}

// Every bucket of the hardware's table, dealt over the queues in turn.
std::unique_ptr<const SteeringTable> ModelNicCore::FirstTable(uint16_t queues) const {
  std::shared_ptr<const RssConfig> rss;
  if (able_.rss_table_size > 0) {
    RssOptions options;
    for (uint32_t i = 0; i < able_.rss_table_size; ++i) {
      options.table.emplace_back(static_cast<uint16_t>(i % queues));
    }
    rss = std::make_shared<const RssConfig>(*RssConfig::Create(options));
  }
  return std::make_unique<const SteeringTable>(RuleTable(), std::move(rss), queues);
}

DropCounts ModelNicCore::drops() const {
  DropCounts sum = receiver_.drops();
  for (const auto& queue : tx_queues_) sum += queue->stats().drops;
  return sum += wire_->drops();
}

std::vector<NicEvent> ModelNicCore::TakeEvents() {
  if (running()) wire_->Service();
  const LinkState now = link();
  const bool gone = wire_->gone();
  const bool turned = std::exchange(told_, now) != now;
  const bool left = !std::exchange(told_gone_, gone) && gone;
  if (!turned && !left) return {};
  const bool up = now == LinkState::kUp;
  std::string detail = wire_->link_detail();
  if (detail.empty()) detail = up ? "the peer is there" : "the peer is gone";
  std::vector<NicEvent> events;
  if (turned) events.push_back({up ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown, QueueId{}, detail});
  if (left) events.push_back({NicEvent::Kind::kRemoved, QueueId{}, detail});
  return events;
}

}  // namespace sluice
