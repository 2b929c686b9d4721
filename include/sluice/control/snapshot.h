// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_SNAPSHOT_H_
#define SLUICE_CONTROL_SNAPSHOT_H_

// What an Engine is and did, at one moment, as a plain value: to print, to send, to compare with the one before.
// Text is for people and may change; the names in the JSON only grow in number.

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/base/clock.h"
#include "sluice/base/drop_reason.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/control/worker.h"
#include "sluice/host/switch.h"
#include "sluice/nic/nic.h"

namespace sluice {

struct QueueSnapshot {
  QueueId id;
  WorkerId worker;  // that polls it, or sends on it
  QueueStats stats;
};

struct PortSnapshot {
  PortId id;
  std::string name;  // in the switch
  std::string nic;   // "xdp veth0"
  LinkState link = LinkState::kDown;
  bool gone = false;  // the device is no more, as Engine::TakeEvents has told: NicEvent::kRemoved
  std::vector<ModeInForce> modes;
  std::string features = {};  // as Nic::feature_names
  std::vector<QueueSnapshot> rx;
  std::vector<QueueSnapshot> tx;
  DropCounts nic_drops;       // of the device, its queues included
  SwitchPortStats switching;  // of the switch's side of the port
  uint64_t handed_over = 0;   // packets in the rings between workers, on their way out here
};

struct WorkerSnapshot {
  WorkerId id;
  WorkerMode mode = WorkerMode::kPoll;
  WorkerStats stats;
};

struct PoolSnapshot {
  std::string name;
  uint32_t packets = 0;    // that there are
  uint64_t available = 0;  // of those, free
};

// What ports that are no longer there did.
struct DepartedPorts {
  uint64_t received = 0;
  uint64_t sent = 0;
  DropCounts receive_drops;  // of the devices: on the way in, and of what was in them when they stopped
  DropCounts send_drops;     // of their transmit queues before that
};

struct Snapshot {
  Nanoseconds taken = 0;  // of the engine's clock
  PoolSnapshot pool;
  std::vector<PortSnapshot> ports;
  std::vector<WorkerSnapshot> workers;
  SwitchStats l2_switch;
  std::vector<LearnedAddress> addresses;
  DepartedPorts departed;
  // Packets handed to another worker: for a port that was removed meanwhile, or as Switch has it under "Congestion".
  DropCounts dropped_between;
};

// The books of a snapshot: received + copies = sent + held + dropped. Exact while no worker runs.
struct Balance {
  uint64_t received = 0;  // from the queues of all ports, past and present
  uint64_t copies = 0;    // made by flooding
  uint64_t sent = 0;      // by the queues
  uint64_t held = 0;      // in the switch and between workers
  DropCounts drops;       // after they were received

  int64_t difference() const { return static_cast<int64_t>(received + copies - sent - held - drops.total()); }
};
SLUICE_EXPORT Balance BalanceOf(const Snapshot& snapshot);

// Every drop, those before a packet was received too: the sum of the text's drop table. What all devices were given by
// their networks, and the copies, less what the networks were given by them, is what is held and these.
SLUICE_EXPORT DropCounts AllDrops(const Snapshot& snapshot);

// Tables of ports, queues, modes, workers, learned addresses (the first 16) and drops; ends with a newline.
SLUICE_EXPORT std::string ToText(const Snapshot& snapshot);

// One JSON object (RFC 8259) on one line. Numbers beyond 2^53 are rounded by some readers.
SLUICE_EXPORT std::string ToJson(const Snapshot& snapshot);

}  // namespace sluice

#endif  // SLUICE_CONTROL_SNAPSHOT_H_
