// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/snapshot.h"

namespace sluice {

Balance BalanceOf(const Snapshot& snapshot) {
  Balance balance{.received = snapshot.departed.received,
                  .copies = snapshot.l2_switch.copies,
                  .sent = snapshot.departed.sent,
                  .held = snapshot.l2_switch.held,
                  .drops = snapshot.l2_switch.drops};
  balance.drops += snapshot.departed.send_drops;
  balance.drops += snapshot.dropped_between;
  for (const PortSnapshot& port : snapshot.ports) {
    for (const QueueSnapshot& queue : port.rx) balance.received += queue.stats.packets;
    for (const QueueSnapshot& queue : port.tx) {
      balance.sent += queue.stats.packets;
      balance.drops += queue.stats.drops;
    }
    balance.held += port.handed_over;
  }
  return balance;
}

DropCounts AllDrops(const Snapshot& snapshot) {
  DropCounts drops = snapshot.l2_switch.drops;
  drops += snapshot.departed.receive_drops;
  drops += snapshot.departed.send_drops;
  drops += snapshot.dropped_between;
  for (const PortSnapshot& port : snapshot.ports) drops += port.nic_drops;
  return drops;
}

}  // namespace sluice
