// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_WORKER_PLAN_INTERNAL_H_
#define SLUICE_CONTROL_WORKER_PLAN_INTERNAL_H_

// What one worker does in a poll, as the control thread laid it out: never changed, only replaced whole.

#include <atomic>
#include <vector>

#include "host/held_loans_internal.h"
#include "nic/model/packet_ring_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/ids.h"
#include "sluice/nic/queue.h"
#include "sluice/packet/burst.h"

namespace sluice {

class EngineWorker;

// From a worker without a transmit queue on a port to the one that has it.
struct HandOver {
  HandOver(WorkerId sender, EngineWorker& owns_queue, uint32_t capacity)
      : from(sender), owner(owns_queue), ring(capacity) {}

  const WorkerId from;
  EngineWorker& owner;
  PacketRing ring;
  Burst taken;                         // out of the ring, and not sent yet: the owner's
  std::atomic<size_t> taken_count{0};  // its size, for readers
  HeldLoans loans;                     // of what is in it, and behind it in the ring
  uint64_t unlent = 0;                 // up to this number of the ring no packet borrows any more
  DropCounters drops;
};

struct WorkerPlan {
  struct Source {
    PortId port;
    RxQueue* queue = nullptr;
  };
  // Of the two, one is set; neither where there is no port.
  struct Exit {
    TxQueue* queue = nullptr;
    HandOver* over = nullptr;
  };
  struct Errand {
    HandOver* over = nullptr;
    TxQueue* queue = nullptr;
  };

  std::vector<Source> sources;
  std::vector<Exit> exits;      // by port
  std::vector<Errand> errands;  // what others hand over to this worker
  bool needs_tick = false;      // a source cannot wake anybody
};

}  // namespace sluice

#endif  // SLUICE_CONTROL_WORKER_PLAN_INTERNAL_H_
