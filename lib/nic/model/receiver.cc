// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "nic/model/receiver_internal.h"

namespace sluice {
namespace {

// Frees those of `n` packets for which `inspect` gives a reason, and moves the others to the front; returns how many they
// are.
template <typename Inspect>
size_t Keep(Packet** packets, size_t n, DropCounters& drops, Inspect inspect) {
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (const std::optional<DropReason> reason = inspect(*packets[i])) {
      drops.Add(*reason);
      PacketPool::Put(&packets[i], 1);
    } else {
      packets[kept++] = packets[i];
    }
  }
  return kept;
}

}  // namespace

ModelReceiver::ModelReceiver(const ModelNicOptions& options, const Capabilities& able, const Clock& clock,
                             Wire& wire)
    : wire_(wire),
      pair_(dynamic_cast<PairEnd*>(&wire)),
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
  if (pair_ != nullptr && !steered && !coalesce_ && !looks_) OpenWay(*queues_[0]);
  return absl::OkStatus();
}

void ModelReceiver::OpenWay(ModelRxQueue& queue) {
  pair_->in().Tell(Terms(port_, queue.id(), inspector_.max_frame()));
  queue.OpenWay(pair_->in(), *tables_);
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
  sleepers_.store(0, std::memory_order_relaxed);
  tables_.reset();
  generation_.store(0, std::memory_order_release);
}

DropCounts ModelReceiver::drops() const {
  DropCounts sum = drops_.Read();
  for (const auto& queue : queues_) sum += queue->stats().drops;
  return sum;
}

size_t ModelReceiver::InspectAll(Packet** packets, size_t n, DropCounters& drops) {
  if (tables_->changing()) tables_->Advance(clock_);
  const Nanoseconds stamp = StampTime();
  return Keep(packets, n, drops, [&](Packet& packet) -> std::optional<DropReason> {
    if (tables_->changing()) [[unlikely]]
      tables_->CountArrival(clock_);
    if (stamp != 0) packet.set_timestamp(stamp);
    const SteeringTable& table = tables_->Now();
    if (const std::optional<DropReason> reason = inspector_.Inspect(packet, table)) return reason;
    table.Hash(packet);
    return table.Steer(packet);
  });
}

// In three steps, so that the hashes are made all at once. For that the table must be the same for all.
void ModelReceiver::InspectBurst(Burst& burst) {
  Packet** const packets = burst.Extend(0) - burst.size();
  const size_t arrived = burst.size();
  const Packet::Arrival here(port_, QueueId{0});
  for (size_t i = 0; i < arrived; ++i) packets[i]->Arrive(here);
  if (tables_->changing()) [[unlikely]]
    return burst.DropBack(arrived - InspectAll(packets, arrived, drops_));

  const SteeringTable& table = tables_->Now();
  const Nanoseconds stamp = StampTime();
  burst.DropBack(arrived - Keep(packets, arrived, drops_, [&](Packet& packet) {
                   if (stamp != 0) packet.set_timestamp(stamp);
                   return inspector_.Inspect(packet, table);
                 }));
  table.HashAll(burst);
  const size_t hashed = burst.size();
  burst.DropBack(hashed - Keep(packets, hashed, drops_, [&](Packet& packet) { return table.Steer(packet); }));
}

}  // namespace sluice
