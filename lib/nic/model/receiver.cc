// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "nic/model/receiver_internal.h"

namespace sluice {

ModelReceiver::ModelReceiver(const ModelNicOptions& options, const Capabilities& able, const Clock& clock,
                             Wire& wire)
    : wire_(wire),
      clock_(clock),
      inspector_({.max_frame = able.max_frame,
                  .strip_vlan = options.strip_vlan,
                  .verify_checksums = options.verify_checksums,
                  .drop_bad_checksums = options.drop_bad_checksums,
                  .parse = options.coalesce.has_value()}),
      stamp_(options.stamp),
      looks_(options.stamp || inspector_.looks()),
      lossless_(options.lossless),
      coalesce_(options.coalesce) {
  for (uint16_t i = 0; i < able.max_rx_queues; ++i) {
    queues_.push_back(std::make_unique<ModelRxQueue>(*this, QueueId{i}));
  }
}

ModelReceiver::~ModelReceiver() { Close(); }

absl::Status ModelReceiver::Open(const QueueOptions& queues, std::unique_ptr<const SteeringTable> table) {
  port_ = queues.port;
  tables_ = std::make_unique<TableHistory>(std::move(table), generation_);
  const bool charges = queues.owner != kNobody && queues.pool->options().budget != nullptr;
  const bool steered = queues.rx_queues > 1 || charges;
  for (uint16_t i = 0; i < queues.rx_queues; ++i) {
    if (absl::Status opened = OpenQueue(*queues_[i], queues, steered); !opened.ok()) {
      Close();
      return opened;
    }
  }
  return absl::OkStatus();
}

absl::Status ModelReceiver::OpenQueue(ModelRxQueue& queue, const QueueOptions& queues, bool steered) {
  absl::Status opened = queue.Open(queues, steered);
  if (opened.ok() && coalesce_) opened = queue.OpenMerger(*coalesce_, clock_);
  return opened;
}

void ModelReceiver::Close() {
  for (const auto& queue : queues_) queue->Close();
  drops_.Add(DropReason::kStopped, arrivals_.size());
  arrivals_.Clear();
  front_steered_ = false;
  sleepers_.store(0, std::memory_order_relaxed);
  tables_.reset();
  generation_.store(0, std::memory_order_release);
}

DropCounts ModelReceiver::drops() const {
  DropCounts sum = drops_.Read();
  for (const auto& queue : queues_) sum += queue->stats().drops;
  return sum;
}

std::optional<DropReason> ModelReceiver::Inspect(Packet& packet, Nanoseconds stamp) {
  if (tables_->changing()) [[unlikely]]
    tables_->CountArrival(clock_);
  if (stamp != 0) packet.set_timestamp(stamp);
  QueueId queue;
  const std::optional<DropReason> reason = inspector_.Inspect(packet, tables_->Now(), queue);
  packet.ingress_queue = queue;
  return reason;
}

size_t ModelReceiver::InspectAll(Packet** packets, size_t n, DropCounters& drops) {
  if (tables_->changing()) tables_->Advance(clock_);
  const Nanoseconds stamp = StampTime();
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (const std::optional<DropReason> reason = Inspect(*packets[i], stamp)) {
      drops.Add(*reason);
      PacketPool::Put(&packets[i], 1);
    } else {
      packets[kept++] = packets[i];
    }
  }
  return kept;
}

}  // namespace sluice
