// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/control/snapshot.h"

namespace sluice {
namespace {

const char* LinkText(const PortSnapshot& port) {
  if (port.gone) return "gone";
  return port.link == LinkState::kUp ? "up" : "down";
}

void AppendPorts(const Snapshot& snapshot, std::string& out) {
  absl::StrAppendFormat(&out, "%-4s %-14s %-20s %-5s %12s %12s %9s %9s\n", "port", "name", "device", "link",
                        "received", "sent", "held", "dropped");
  for (const PortSnapshot& port : snapshot.ports) {
    absl::StrAppendFormat(&out, "%-4d %-14.14s %-20.20s %-5s %12d %12d %9d %9d\n", port.id.value(), port.name,
                          port.nic, LinkText(port), port.switching.received, port.switching.sent,
                          port.switching.held + port.handed_over,
                          port.switching.drops.total() + port.nic_drops.total());
  }
}

// How often a byte was copied on its way through the queue.
std::string CopiesOf(const QueueStats& stats) {
  if (!stats.copied.has_value()) return "-";
  return absl::StrFormat(
      "%.2f", stats.bytes == 0 ? 0 : static_cast<double>(*stats.copied) / static_cast<double>(stats.bytes));
}

void AppendQueue(const PortSnapshot& port, const char* way, const QueueSnapshot& queue, std::string& out) {
  absl::StrAppendFormat(&out, "%-14.14s %-3s %5d %7d %12d %15d %6s %9d %9d\n", port.name, way,
                        queue.id.value(), queue.worker.value(), queue.stats.packets, queue.stats.bytes,
                        CopiesOf(queue.stats), queue.stats.wakeups, queue.stats.drops.total());
}

void AppendQueues(const Snapshot& snapshot, std::string& out) {
  absl::StrAppendFormat(&out, "\n%-14s %-3s %5s %7s %12s %15s %6s %9s %9s\n", "port", "way", "queue",
                        "worker", "packets", "bytes", "copies", "wakeups", "dropped");
  for (const PortSnapshot& port : snapshot.ports) {
    for (const QueueSnapshot& queue : port.rx) AppendQueue(port, "in", queue, out);
    for (const QueueSnapshot& queue : port.tx) AppendQueue(port, "out", queue, out);
  }
}

void AppendModes(const Snapshot& snapshot, std::string& out) {
  for (const PortSnapshot& port : snapshot.ports) {
    if (!port.features.empty()) absl::StrAppend(&out, port.name, ": has ", port.features, "\n");
    for (const ModeInForce& mode : port.modes) {
      if (mode.wanted == Want::kOff && !mode.active) continue;
      absl::StrAppendFormat(&out, "%s: %s %s", port.name, mode.name,
                            mode.active ? "in force" : "not in force");
      absl::StrAppend(&out, mode.reason.empty() ? "" : ": ", mode.reason, "\n");
    }
  }
}

void AppendWorkers(const Snapshot& snapshot, std::string& out) {
  constexpr const char* kModes[] = {"poll", "adaptive", "interrupt"};
  absl::StrAppendFormat(&out, "\n%-6s %-9s %12s %12s %12s %9s %14s\n", "worker", "mode", "packets", "polls",
                        "busy polls", "sleeps", "cycles/packet");
  for (const WorkerSnapshot& worker : snapshot.workers) {
    const WorkerStats& stats = worker.stats;
    absl::StrAppendFormat(&out, "%-6d %-9s %12d %12d %12d %9d %14d\n", worker.id.value(),
                          kModes[static_cast<size_t>(worker.mode)], stats.packets, stats.polls,
                          stats.busy_polls, stats.sleeps,
                          stats.packets == 0 ? 0 : stats.busy_cycles / stats.packets);
  }
}

std::string NameOf(const Snapshot& snapshot, PortId id) {
  for (const PortSnapshot& port : snapshot.ports) {
    if (port.id == id) return port.name;
  }
  return absl::StrCat(id.value());
}

// A table of thousands would push all else off the screen.
void AppendAddresses(const Snapshot& snapshot, std::string& out) {
  constexpr size_t kMost = 16;
  const SwitchStats& stats = snapshot.l2_switch;
  absl::StrAppendFormat(&out, "\n%-19s %5s %-20s %8s\n", "learned address", "vlan", "port", "seen");
  for (size_t i = 0; i < std::min(kMost, snapshot.addresses.size()); ++i) {
    const LearnedAddress& learned = snapshot.addresses[i];
    absl::StrAppendFormat(&out, "%-19s %5d %-20.20s %6d s\n", learned.address.ToString(), learned.vlan,
                          NameOf(snapshot, learned.port), absl::ToInt64Seconds(learned.age));
  }
  if (snapshot.addresses.size() > kMost) {
    absl::StrAppendFormat(&out, "and %d more\n", snapshot.addresses.size() - kMost);
  }
  absl::StrAppendFormat(
      &out, "learned %d, moved %d, evicted %d, expired %d, not learned %d; flooded: unknown %d, group %d\n",
      stats.learned, stats.moved, stats.evicted, stats.expired, stats.learn_busy + stats.learn_full,
      stats.unknown, stats.multicast);
}

// Where, why, how many, and what it means.
void AppendDrops(absl::string_view where, const DropCounts& drops, std::string& out) {
  for (size_t i = 0; i < kDropReasonCount; ++i) {
    const auto reason = static_cast<DropReason>(i);
    if (drops[reason] == 0) continue;
    absl::StrAppendFormat(&out, "%-22s %-20s %12d  %s\n", where, Name(reason), drops[reason],
                          Meaning(reason));
  }
}

void AppendAllDrops(const Snapshot& snapshot, std::string& out) {
  absl::StrAppendFormat(&out, "\n%-22s %-20s %12s\n", "dropped at", "reason", "packets");
  for (const PortSnapshot& port : snapshot.ports) {
    AppendDrops(absl::StrCat(port.name, " device"), port.nic_drops, out);
    AppendDrops(absl::StrCat(port.name, " switch"), port.switching.drops, out);
  }
  AppendDrops("ports now gone, in", snapshot.departed.receive_drops, out);
  AppendDrops("ports now gone, out", snapshot.departed.send_drops, out);
  AppendDrops("ports now gone, switch", snapshot.l2_switch.retired_drops, out);
  AppendDrops("between workers", snapshot.dropped_between, out);
  absl::StrAppendFormat(&out, "%-22s %-20s %12d\n", "sum", "", AllDrops(snapshot).total());
}

}  // namespace

std::string ToText(const Snapshot& snapshot) {
  std::string out;
  AppendPorts(snapshot, out);
  AppendQueues(snapshot, out);
  AppendModes(snapshot, out);
  AppendWorkers(snapshot, out);
  AppendAddresses(snapshot, out);
  AppendAllDrops(snapshot, out);
  const Balance balance = BalanceOf(snapshot);
  absl::StrAppendFormat(&out, "\nreceived %d + copied %d = sent %d + held %d + dropped %d (difference %d)\n",
                        balance.received, balance.copies, balance.sent, balance.held, balance.drops.total(),
                        balance.difference());
  absl::StrAppendFormat(&out, "addresses learned %d; buffers free %d of %d\n", snapshot.addresses.size(),
                        snapshot.pool.available, snapshot.pool.packets);
  return out;
}

}  // namespace sluice
