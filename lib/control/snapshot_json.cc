// SPDX-License-Identifier: Apache-2.0
#include <boost/json.hpp>

#include "sluice/control/snapshot.h"

namespace sluice {
namespace {

namespace json = boost::json;

json::string_view View(absl::string_view text) { return {text.data(), text.size()}; }

// Only the reasons that occurred.
json::object DropsToJson(const DropCounts& drops) {
  json::object out;
  for (size_t i = 0; i < kDropReasonCount; ++i) {
    const auto reason = static_cast<DropReason>(i);
    if (drops[reason] != 0) out[View(Name(reason))] = drops[reason];
  }
  return out;
}

json::array QueuesToJson(const std::vector<QueueSnapshot>& queues) {
  json::array out;
  for (const QueueSnapshot& queue : queues) {
    out.push_back(
        {{"id", queue.id.value()},
         {"worker", queue.worker.value()},
         {"packets", queue.stats.packets},
         {"bytes", queue.stats.bytes},
         {"wakeups", queue.stats.wakeups},
         {"copied", queue.stats.copied.has_value() ? json::value(*queue.stats.copied) : json::value()},
         {"drops", DropsToJson(queue.stats.drops)}});
  }
  return out;
}

json::array ModesToJson(const std::vector<ModeInForce>& modes) {
  constexpr const char* kWants[] = {"off", "prefer", "require"};
  json::array out;
  for (const ModeInForce& mode : modes) {
    out.push_back({{"name", mode.name},
                   {"wanted", kWants[static_cast<size_t>(mode.wanted)]},
                   {"active", mode.active},
                   {"reason", mode.reason}});
  }
  return out;
}

json::object PortToJson(const PortSnapshot& port) {
  return {{"id", port.id.value()},
          {"name", port.name},
          {"nic", port.nic},
          {"link", port.link == LinkState::kUp ? "up" : "down"},
          {"gone", port.gone},
          {"modes", ModesToJson(port.modes)},
          {"features", port.features},
          {"rx", QueuesToJson(port.rx)},
          {"tx", QueuesToJson(port.tx)},
          {"nic_drops", DropsToJson(port.nic_drops)},
          {"switch",
           {{"received", port.switching.received},
            {"sent", port.switching.sent},
            {"held", port.switching.held},
            {"addresses", port.switching.addresses},
            {"drops", DropsToJson(port.switching.drops)}}},
          {"handed_over", port.handed_over}};
}

json::object WorkerToJson(const WorkerSnapshot& worker) {
  constexpr const char* kModes[] = {"poll", "adaptive", "interrupt"};
  return {{"id", worker.id.value()},         {"mode", kModes[static_cast<size_t>(worker.mode)]},
          {"polls", worker.stats.polls},     {"busy_polls", worker.stats.busy_polls},
          {"packets", worker.stats.packets}, {"busy_cycles", worker.stats.busy_cycles},
          {"sleeps", worker.stats.sleeps},   {"handed_over", worker.stats.handed_over}};
}

json::object SwitchToJson(const SwitchStats& stats) {
  return {{"received", stats.received},
          {"sent", stats.sent},
          {"held", stats.held},
          {"copies", stats.copies},
          {"learned", stats.learned},
          {"moved", stats.moved},
          {"evicted", stats.evicted},
          {"expired", stats.expired},
          {"learn_busy", stats.learn_busy},
          {"learn_full", stats.learn_full},
          {"unknown", stats.unknown},
          {"multicast", stats.multicast},
          {"reserved", stats.reserved},
          {"drops", DropsToJson(stats.drops)},
          {"retired_drops", DropsToJson(stats.retired_drops)}};
}

json::array AddressesToJson(const std::vector<LearnedAddress>& addresses) {
  json::array out;
  for (const LearnedAddress& learned : addresses) {
    out.push_back({{"vlan", learned.vlan},
                   {"address", learned.address.ToString()},
                   {"port", learned.port.value()},
                   {"age_seconds", absl::ToInt64Seconds(learned.age)}});
  }
  return out;
}

json::object BalanceToJson(const Balance& balance) {
  return {{"received", balance.received},
          {"copies", balance.copies},
          {"sent", balance.sent},
          {"held", balance.held},
          {"dropped", balance.drops.total()},
          {"drops", DropsToJson(balance.drops)},
          {"difference", balance.difference()}};
}

template <typename Items, typename Convert>
json::array Each(const Items& items, Convert convert) {
  json::array out;
  for (const auto& item : items) out.push_back(convert(item));
  return out;
}

}  // namespace

std::string ToJson(const Snapshot& snapshot) {
  const json::object out = {{"taken_ns", snapshot.taken},
                            {"pool",
                             {{"name", snapshot.pool.name},
                              {"packets", snapshot.pool.packets},
                              {"available", snapshot.pool.available}}},
                            {"ports", Each(snapshot.ports, PortToJson)},
                            {"workers", Each(snapshot.workers, WorkerToJson)},
                            {"switch", SwitchToJson(snapshot.l2_switch)},
                            {"addresses", AddressesToJson(snapshot.addresses)},
                            {"departed",
                             {{"received", snapshot.departed.received},
                              {"sent", snapshot.departed.sent},
                              {"receive_drops", DropsToJson(snapshot.departed.receive_drops)},
                              {"send_drops", DropsToJson(snapshot.departed.send_drops)}}},
                            {"dropped_between", DropsToJson(snapshot.dropped_between)},
                            {"all_drops", AllDrops(snapshot).total()},
                            {"balance", BalanceToJson(BalanceOf(snapshot))}};
  return json::serialize(out);
}

}  // namespace sluice
