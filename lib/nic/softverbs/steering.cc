// SPDX-License-Identifier: Apache-2.0
#include "nic/softverbs/queue_pair_internal.h"
#include "nic/softverbs/steering_internal.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

bool IsMulticast(const Packet& packet) {
  return HeaderAt<EthernetHeader>(packet.data(), 0)->destination.is_multicast();
}

// As cards do, which look at the headers and leave it to others whether the lengths in them are true.
void ParseLeniently(Packet& packet) {
  constexpr uint32_t kLongest = 1u << 17;  // no length field can tell more
  (void)Parse(absl::MakeConstSpan(packet.data(), packet.head_length()), kLongest, packet.layers());
}

bool SeesSent(const Rule& rule) {
  return rule.kind == RuleKind::kSniffer || rule.direction == RuleDirection::kEgress;
}

}  // namespace

absl::Status SoftSteering::Add(RuleId id, const Rule& rule, SoftQueuePair& pair) {
  absl::StatusOr<RuleTable> changed = table_.With({.id = id, .rule = rule, .owner = pair.number()});
  if (!changed.ok()) return changed.status();
  table_ = *std::move(changed);
  pairs_[pair.number()] = &pair;
  outbound_ += SeesSent(rule) ? 1 : 0;
  FindSole();
  return absl::OkStatus();
}

void SoftSteering::Remove(RuleId id) {
  const TableRule* const rule = table_.Find(id);
  if (rule == nullptr) return;
  outbound_ -= SeesSent(rule->rule) ? 1 : 0;
  table_ = *table_.Without(id);
  FindSole();
}

void SoftSteering::FindSole() {
  sole_ = {};
  if (table_.size() != 1) return;
  const TableRule& only = table_.rule(0);
  if (only.rule.kind != RuleKind::kAllDefault || only.rule.actions.drop) return;
  SoftQueuePair& pair = PairOf(only.owner);
  if (pair.only_receiver() == nullptr) return;
  sole_ = {.pair = &pair, .mark = only.rule.actions.mark.value_or(0), .hits = only.hits.get()};
}

void SoftSteering::Forget(const SoftQueuePair& pair) {
  pairs_.erase(pair.number());
  if (last_pair_ == &pair) last_pair_ = nullptr;
}

// Of a rule of the table. Frames in a row mostly go the same way.
SoftQueuePair& SoftSteering::PairOf(uint64_t number) {
  if (last_pair_ == nullptr || last_pair_->number() != number) last_pair_ = pairs_.find(number)->second;
  return *last_pair_;
}

bool SoftSteering::WatchesSent(const Packet& packet) const {
  return outbound_ > 0 || (multicast_loopback_ && IsMulticast(packet));
}

const SoftSteering::Verdict& SoftSteering::Find(Packet& packet, Way way) {
  verdict_.targets.clear();
  verdict_.hits.clear();
  verdict_.dropped = false;
  verdict_.sound = Parse(packet) == ParseVerdict::kOk;
  if (!verdict_.sound) ParseLeniently(packet);
  const RuleDirection direction = way == Way::kSent ? RuleDirection::kEgress : RuleDirection::kIngress;
  table_.Match(packet, direction, [&](const TableRule& rule) { Apply(rule); });
  if (way == Way::kReceived || verdict_.dropped) return verdict_;
  if (!multicast_loopback_ || !IsMulticast(packet)) return verdict_;
  table_.Match(packet, RuleDirection::kIngress, [&](const TableRule& rule) {
    const bool has_its_copy = rule.rule.kind == RuleKind::kSniffer;
    if (!has_its_copy && !PairOf(rule.owner).blocks_own_multicast()) Apply(rule);
  });
  return verdict_;
}

void SoftSteering::CountHits(const Packet& packet) const {
  for (RuleCounters* hits : verdict_.hits) {
    hits->packets.Add();
    hits->bytes.Add(packet.length());
  }
}

// The queue pair of a rule of egress only names the device.
void SoftSteering::Apply(const TableRule& rule) {
  verdict_.hits.push_back(rule.hits.get());
  const RuleActions& actions = rule.rule.actions;
  verdict_.dropped = verdict_.dropped || actions.drop;
  if (actions.drop || rule.rule.direction == RuleDirection::kEgress) return;
  verdict_.targets.push_back({.pair = &PairOf(rule.owner), .mark = actions.mark.value_or(0)});
}

}  // namespace sluice
