// SPDX-License-Identifier: Apache-2.0
// What comes in before any rule says so, and how it is spread.
#include <array>
#include <utility>

#include "nic/rss_check_internal.h"
#include "nic/verbs/verbs_nic_internal.h"

namespace sluice {
namespace {

constexpr RuleActions kFirst = {.queue = QueueId{0}};

// The kinds of frames that are spread by fields of their own; each depth before the next.
struct Kind {
  uint32_t depth;
  HeadersMatch headers;
};
std::array<Kind, 7> Kinds() {
  constexpr Ipv4Match kIpv4{};
  constexpr Ipv6Match kIpv6{};
  constexpr PortsMatch kAny{};
  return {{{0, {.ipv4 = kIpv4, .tcp = kAny}},
           {0, {.ipv4 = kIpv4, .udp = kAny}},
           {0, {.ipv6 = kIpv6, .tcp = kAny}},
           {0, {.ipv6 = kIpv6, .udp = kAny}},
           {1, {.ipv4 = kIpv4}},
           {1, {.ipv6 = kIpv6}},
           {2, {}}}};
}

// Those that were put first are the closest, and go last: what they no longer take would fall to the others.
void TakeAway(std::vector<VerbsPtr<ibv_flow>>& flows) {
  while (!flows.empty()) flows.pop_back();
}

}  // namespace

absl::Status VerbsNicImpl::LetIn() {
  if (options_.take == VerbsTake::kNothing) return absl::OkStatus();
  if (spread_ == nullptr) return LetInToFirst();
  absl::StatusOr<std::vector<VerbsPtr<ibv_flow>>> takes = PutTakes(*spread_, false);
  if (takes.ok()) takes_ = *std::move(takes);
  takes_upper_ = false;
  return takes.status();
}

absl::Status VerbsNicImpl::LetInToFirst() {
  if (options_.take == VerbsTake::kAll) return Take({.kind = RuleKind::kAllDefault, .actions = kFirst});
  absl::Status multicast = Take({.kind = RuleKind::kMulticastDefault, .actions = kFirst});
  if (!multicast.ok()) return multicast;
  return Take({.priority = places_.last(),
               .match = {.outer = {.ethernet = EthernetMatch{.destination = mac()}}},
               .actions = kFirst});
}

absl::Status VerbsNicImpl::Take(const Rule& rule) {
  absl::StatusOr<VerbsPtr<ibv_flow>> put = Put(rule, rule.priority, rx_[0].receiver().pair(), nullptr);
  if (put.ok()) takes_.push_back(*std::move(put));
  return put.status();
}

// The frames that come in, as far as Ethernet tells.
std::vector<EthernetMatch> VerbsNicImpl::Wanted() const {
  if (options_.take == VerbsTake::kNothing) return {};
  if (options_.take == VerbsTake::kAll) return {EthernetMatch()};
  constexpr MacAddress kGroupBit({1, 0, 0, 0, 0, 0});  // IEEE 802, 8.2
  return {{.destination = mac()}, {.destination = {kGroupBit, kGroupBit}}};
}

absl::StatusOr<std::vector<VerbsPtr<ibv_flow>>> VerbsNicImpl::PutTakes(VerbsSpread& spread,
                                                                       bool upper) const {
  std::vector<VerbsPtr<ibv_flow>> flows;
  for (const Kind& kind : Kinds()) {
    for (const EthernetMatch& ethernet : Wanted()) {
      Rule rule{.match = {.outer = kind.headers}};
      rule.match.outer.ethernet = ethernet;
      absl::StatusOr<VerbsPtr<ibv_flow>> flow = PutSpread(rule, places_.OfTake(kind.depth, upper), spread);
      if (!flow.ok()) {
        TakeAway(flows);
        return flow.status();
      }
      flows.push_back(*std::move(flow));
    }
  }
  return flows;
}

absl::StatusOr<VerbsPtr<ibv_flow>> VerbsNicImpl::PutSpread(const Rule& rule, uint32_t place,
                                                           VerbsSpread& spread) const {
  if (spread.Joins(rule.match)) return spread.PutJoining(rule.match, place);
  const VerbsHashKind kind = spread.KindOf(rule.match).value_or(VerbsHashKind());
  const absl::StatusOr<ibv_qp*> pair = spread.PairFor(kind);
  return pair.ok() ? Put(rule, place, **pair, nullptr) : pair.status();
}

absl::StatusOr<std::unique_ptr<VerbsSpread>> VerbsNicImpl::MakeSpread(const RssConfig& rss) const {
  std::vector<ibv_wq*> works;
  for (uint16_t i = 0; i < queues_.rx_queues; ++i) works.push_back(rx_[i].receiver().work());
  absl::StatusOr<VerbsSpread> made = VerbsSpread::Make(*device_, rss, works, arrivals_.lro);
  if (!made.ok()) return made.status();
  return std::make_unique<VerbsSpread>(*std::move(made));
}

// Where there is one queue, there is nothing to spread over; but TCP that the card joins takes another way than the rest.
absl::Status VerbsNicImpl::OpenSpread() {
  if (!device_->spreads() || (queues_.rx_queues == 1 && !arrivals_.lro)) return absl::OkStatus();
  RssConfig rss = RssConfig::Spread(queues_.rx_queues);
  std::vector<QueueId> table = rss.table();
  if (table.size() > capabilities().rss_table_size) {
    table.resize(capabilities().rss_table_size);
    rss = *rss.WithTable(std::move(table));
  }
  absl::StatusOr<std::unique_ptr<VerbsSpread>> made = MakeSpread(rss);
  if (made.ok()) spread_ = *std::move(made);
  return made.status();
}

absl::Status VerbsNicImpl::CheckRss(const RssConfig& rss) const {
  constexpr char kStage[] = "set RSS";
  if (!device_->spreads()) {
    return Lacks(kStage, "RSS", "the device has none, as described() says",
                 "steer by rules, or use one queue");
  }
  if (!running())
    return Refuse(absl::StatusCode::kFailedPrecondition, kStage, "is stopped", "start it first");
  return CheckRssTable(name(), rss, capabilities().rss_table_size, queues_.rx_queues);
}

// 1. All that spreads is put a second time, in its other place. 2. What was there is taken away. Where the new is above,
// it takes over with the first step, else with the second; no frame meets both, or neither.
absl::Status VerbsNicImpl::SetRss(const RssConfig& rss) {
  if (absl::Status checked = CheckRss(rss); !checked.ok()) return checked;
  if (spread_ == nullptr) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<VerbsSpread>> spread = MakeSpread(rss);
  if (!spread.ok()) return spread.status();
  absl::StatusOr<std::vector<VerbsPtr<ibv_flow>>> takes = PutTakes(**spread, !takes_upper_);
  if (!takes.ok()) return takes.status();
  absl::StatusOr<std::vector<MovedRule>> moved = PutSpreadRules(**spread);
  if (!moved.ok()) {
    TakeAway(*takes);
    return moved.status();
  }
  TakeAway(takes_);
  takes_ = *std::move(takes);
  takes_upper_ = !takes_upper_;
  for (auto& [installed, flow] : *moved) {
    installed->flow = std::move(flow);
    installed->upper = !installed->upper;
  }
  spread_ = *std::move(spread);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<VerbsNicImpl::MovedRule>> VerbsNicImpl::PutSpreadRules(VerbsSpread& spread) {
  std::vector<MovedRule> moved;
  for (auto& [id, installed] : rules_) {
    if (!SpreadsBy(installed.rule.actions, installed.rule.direction)) continue;
    absl::StatusOr<VerbsPtr<ibv_flow>> flow =
        PutRule(installed.rule, !installed.upper, &spread, installed.counters.get());
    if (!flow.ok()) return flow.status();
    moved.emplace_back(&installed, *std::move(flow));
  }
  return moved;
}

}  // namespace sluice
