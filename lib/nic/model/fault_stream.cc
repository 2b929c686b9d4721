// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "nic/model/fault_stream_internal.h"

namespace sluice {
namespace {

void Sort(std::vector<uint64_t>& script) { std::sort(script.begin(), script.end()); }

bool HasFaults(const FaultPlan& plan) {
  const bool scripted =
      !(plan.lose.empty() && plan.duplicate.empty() && plan.reorder.empty() && plan.delay.empty());
  return scripted ||
         std::max({plan.lose_chance, plan.duplicate_chance, plan.reorder_chance, plan.delay_chance}) > 0;
}

// Null when the pool is dry or the frame does not fit a buffer.
PacketPtr Copy(const Packet& packet, PacketPool* pool) {
  PacketPtr copy = pool == nullptr ? nullptr : pool->GetOne();
  if (copy == nullptr || copy->tailroom() < packet.length()) return nullptr;
  if (!packet.CopyOut(0, packet.length(), copy->data())) return nullptr;
  copy->SetLength(packet.length());
  copy->offload = packet.offload;
  copy->vlan_tci = packet.vlan_tci;
  return copy;
}

}  // namespace

void FaultStream::SetPlan(const FaultPlan& plan, uint64_t seed) {
  plan_ = plan;
  random_.seed(seed);
  for (auto* script : {&plan_.lose, &plan_.duplicate, &plan_.reorder, &plan_.delay}) Sort(*script);
  plan_faults_ = HasFaults(plan_);
}

// The number of the frame is injected_, counted before. Chance is drawn for each fault of each frame, so
// that one fault more in a plan does not change what befalls the frames behind.
bool FaultStream::Meets(const std::vector<uint64_t>& script, double chance) {
  const bool drawn = std::bernoulli_distribution(std::clamp(chance, 0.0, 1.0))(random_);
  return drawn || std::binary_search(script.begin(), script.end(), injected_.value());
}

void FaultStream::Inject(PacketPtr packet, Nanoseconds now, PacketPool* pool) {
  injected_.Add();
  const bool lose = Meets(plan_.lose, plan_.lose_chance);
  const bool duplicate = Meets(plan_.duplicate, plan_.duplicate_chance);
  const bool reorder = Meets(plan_.reorder, plan_.reorder_chance);
  const bool delay = Meets(plan_.delay, plan_.delay_chance);

  if (lose) {
    lost_.Add();
    drops_.Add(DropReason::kFault);
  } else if (duplicate) {
    PacketPtr copy = Copy(*packet, pool);
    Queue(std::move(packet), now);
    if (copy != nullptr) duplicated_.Add();
    if (copy != nullptr) Queue(std::move(copy), now);
  } else if (reorder) {
    reordered_.Add();
    aside_.push_back({.packet = std::move(packet), .due = 0, .after = queued_ + plan_.reorder_by});
  } else if (delay) {
    delayed_.Add();
    Queue(std::move(packet), now + static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(plan_.delay_time)));
  } else {
    Queue(std::move(packet), now);
  }
  CountHeld();
}

void FaultStream::Lose(PacketPtr packet, DropReason reason) {
  packet.reset();
  injected_.Add();
  lost_.Add();
  drops_.Add(reason);
}

void FaultStream::Queue(PacketPtr packet, Nanoseconds due) {
  queue_.push_back({.packet = std::move(packet), .due = due, .after = 0});
  ++queued_;
  QueueOvertaken();
}

// Those aside whose turn has come count as passing, too.
void FaultStream::QueueOvertaken() {
  while (!aside_.empty() && aside_.front().after <= queued_) {
    queue_.push_back({.packet = std::move(aside_.front().packet), .due = 0, .after = 0});
    aside_.pop_front();
    ++queued_;
  }
}

void FaultStream::Release(Nanoseconds now, Burst& out) {
  for (; !queue_.empty() && queue_.front().due <= now && out.room() > 0; queue_.pop_front()) {
    out.Push(std::move(queue_.front().packet));
  }
  CountHeld();
}

void FaultStream::TakeBack(Burst& rest) {
  for (size_t i = rest.size(); i > 0; --i) {
    queue_.push_front({.packet = PacketPtr(&rest[i - 1]), .due = 0, .after = 0});
  }
  rest.DropFront(rest.size());
  CountHeld();
}

void FaultStream::Clear() {
  lost_.Add(held());
  drops_.Add(DropReason::kStopped, held());
  queue_.clear();
  aside_.clear();
  CountHeld();
}

FaultCounts FaultStream::counts() const {
  return {.injected = injected_.value(),
          .delivered = delivered_.value(),
          .lost = lost_.value(),
          .duplicated = duplicated_.value(),
          .reordered = reordered_.value(),
          .delayed = delayed_.value(),
          .held = held()};
}

}  // namespace sluice
