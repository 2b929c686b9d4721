// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_ENGINE_H_
#define SLUICE_CONTROL_ENGINE_H_

// Ports, a switch between them, and workers that carry the packets: a virtual switch to link in.
//
//     Nic ── port 0 ──┐   ┌─ Worker 0 ─┐      the caller's threads, one a worker
//     Nic ── port 1 ──┼───┤            ├── Switch
//     Nic ── port 2 ──┘   └─ Worker 1 ─┘
//
//   auto engine = Engine::Create({.pool = pool.get(), .workers = 2}).value();
//   PortId uplink = engine->AddPort(std::move(nic), {.switching = {.name = "uplink"}}).value();
//   std::thread first([&] { Run(engine->worker(WorkerId{0})); });       // see worker.h
//
// It makes no threads and pins none. Use it when you want forwarding between ports; use Switch alone when you
// have a loop of your own, and queues alone when you are the forwarding.
//
// Queues: a port gets a receive and a transmit queue for each worker, as far as its Nic can. Receive queue i
//   is polled by worker (port + i) % workers, and transmit queue i is worker i's own. A worker without a
//   transmit queue hands its packets, through a ring that only the two share, to worker i % queues: a queue has
//   one user, and no lock.
// Change: AddPort and RemovePort work under traffic. A worker sees a change whole, at its next poll, and
//   RemovePort returns when no worker can reach the port any more.
// Conservation: see Balance in snapshot.h.
//
// Threads: the calls below from any thread, one at a time; never from within PollOnce. snapshot() too.
// Ownership: the engine owns Nics and workers; the pool outlives it. Destroy it when no worker is running.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/control/snapshot.h"
#include "sluice/control/worker.h"
#include "sluice/host/switch.h"
#include "sluice/nic/nic.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

struct EngineOptions {
  PacketPool* pool = nullptr;      // of arrivals and of flood copies; outlives the engine. Required
  uint16_t workers = 1;            // 1-64
  WorkerOptions worker{};          // of each
  uint16_t max_ports = 64;         // at a time
  uint32_t max_addresses = 65536;  // that the switch learns, all ports together
  absl::Duration ageing = absl::Seconds(300);  // of learned addresses
  const Clock* clock = &Clock::Monotonic();    // outlives the engine
};

struct PortOptions {
  SwitchPortOptions
      switching{};  // VLANs, bounds, anti-spoof; an empty name becomes the Nic's. inserts_vlan is set here
  uint16_t rx_queues = 0;   // 0 = as many as there are workers, or fewer when the Nic has not so many
  uint16_t tx_queues = 0;   // likewise; more than workers stay unused
  uint32_t rx_ring = 0;     // packets a queue, a power of two; 0 = 1024, or the Nic's most
  uint32_t tx_ring = 0;     // likewise
  OwnerId owner = kNobody;  // who is charged for buffers that arrive here
};

struct PortEvent {
  PortId port;
  NicEvent event;
};

class SLUICE_EXPORT Engine {
 public:
  // kInvalidArgument names the option out of range.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options);
  ~Engine();  // removes all ports
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Starts the Nic, which is stopped, and lets traffic in. Refuses what Switch::AddPort and Nic::Start refuse, and
  // has then changed nothing; the Nic is then gone.
  absl::StatusOr<PortId> AddPort(std::unique_ptr<Nic> nic, const PortOptions& options);
  // Stops and destroys the Nic. Packets under way to the port are dropped, kPortRemoved. kNotFound: no such port.
  absl::Status RemovePort(PortId port);

  // What the ports' devices have to tell: links going up and down, a device that is gone (remove its port then).
  // event_fd() is readable when there may be something.
  std::vector<PortEvent> TakeEvents();
  int event_fd() const;

  uint16_t worker_count() const;
  Worker& worker(WorkerId id);  // id below worker_count(); for the life of the engine

  Switch& l2_switch();    // for its statistics, addresses and saved state; ports are added through the engine
  Nic* nic(PortId port);  // null: no such port. Valid until the port is removed

  // Everything that there is to know, as a value. Counters are exact while no worker runs.
  Snapshot snapshot() const;

 private:
  struct Port;
  struct Control;

  explicit Engine(std::unique_ptr<Control> control);

  const std::unique_ptr<Control> control_;
};

}  // namespace sluice

#endif  // SLUICE_CONTROL_ENGINE_H_
