// SPDX-License-Identifier: Apache-2.0
// Rules on their way to the card. What it takes is found out by asking it for exactly that.
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/verbs_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kInstall[] = "install rule";

bool Unable(int error) {
  return error == EOPNOTSUPP || error == EINVAL || error == ENOTSUP || error == EPROTONOSUPPORT;
}

}  // namespace

int VerbsNicImpl::CountIn(ibv_counters& counters) {
  for (const auto& [what, at] :
       {std::pair(IBV_COUNTER_PACKETS, kPackets), std::pair(IBV_COUNTER_BYTES, kBytes)}) {
    ibv_counter_attach_attr attach{};
    attach.counter_desc = what;
    attach.index = at;
    if (const int error = ibv_attach_counters_point_flow(&counters, &attach, nullptr); error != 0)
      return error;
  }
  return 0;
}

absl::StatusOr<VerbsPtr<ibv_counters>> VerbsNicImpl::MakeCounters() const {
  ibv_counters_init_attr init{};
  VerbsPtr<ibv_counters> made(ibv_create_counters(device_->context(), &init));
  if (made == nullptr) {
    return device_->Failed(errno, kInstall, "rule counters", "no more of them", "count fewer rules");
  }
  if (const int error = CountIn(*made); error != 0) {
    return device_->Failed(error, kInstall, "rule counters", "not for packets and bytes",
                           "install it without count");
  }
  return made;
}

// Without a queue of its own a rule still needs a queue pair, which names the device.
absl::StatusOr<ibv_qp*> VerbsNicImpl::TargetOf(const Rule& rule, VerbsSpread* spread) const {
  const bool spreads = spread != nullptr && queues_.rx_queues > 1 && SpreadsBy(rule.actions, rule.direction);
  if (!spreads) return &rx_[rule.actions.queue.value_or(QueueId{0}).value()].receiver().pair();
  const std::optional<VerbsHashKind> kind = spread->KindOf(rule.match);
  if (kind.has_value()) return spread->PairFor(*kind);
  return Lacks(kInstall, "RSS of frames of any kind", "a queue pair hashes one kind of frames",
               "name ipv4 or ipv6 in the rule, and tcp or udp where ports shall count; or a queue");
}

absl::StatusOr<VerbsPtr<ibv_flow>> VerbsNicImpl::Put(const Rule& rule, uint32_t place, ibv_qp& pair,
                                                     ibv_counters* counters) const {
  Rule placed = rule;
  placed.priority = place;
  absl::StatusOr<FlowSpec> spec = FlowSpec::Of(placed, device_->port());
  if (!spec.ok()) return spec.status();
  if (counters != nullptr) spec->Count(*counters);
  VerbsPtr<ibv_flow> flow(ibv_create_flow(&pair, spec->attr()));
  if (flow != nullptr) return flow;
  const int error = errno;
  if (!Unable(error)) {
    return device_->Failed(error, kInstall, "", rule.ToString(),
                           "remove rules, see for privileges, or steer in software");
  }
  return ErrorStatus(absl::StatusCode::kUnimplemented,
                     {.device = name(),
                      .stage = kInstall,
                      .capability = "such a rule",
                      .error_number = error,
                      .what = absl::StrCat("the device refuses ", rule.ToString()),
                      .remedy = "name other headers or fields, or steer in software behind the queue"});
}

}  // namespace sluice
