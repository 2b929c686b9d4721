// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_ENGINE_INTERNAL_H_
#define SLUICE_CONTROL_ENGINE_INTERNAL_H_

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "control/worker_internal.h"
#include "sluice/control/engine.h"

namespace sluice {

struct Engine::Port {
  std::unique_ptr<Nic> nic;
  std::vector<WorkerId> pollers;                      // by receive queue
  std::vector<std::unique_ptr<HandOver>> hand_overs;  // of the workers without a transmit queue
  bool gone = false;                                  // told by its device
};

struct Engine::Control {
  explicit Control(const EngineOptions& engine_options) : options(engine_options) {}

  absl::Status MakeWorkers();

  // The parts of AddPort and RemovePort.
  absl::Status Start(Port& port, PortId id, const PortOptions& port_options);
  void Connect(Port& port, PortId id);
  absl::Status Watch(const Port& port);
  void Unwatch(const Port& port);
  void Retire(Port& port);

  // Gives every worker a plan of the ports that there are, and returns when none uses an older one.
  void Publish();
  std::unique_ptr<const WorkerPlan> PlanOf(const EngineWorker& worker) const;

  PortSnapshot SnapshotOf(PortId id, const Port& port) const;

  const EngineOptions options;
  mutable std::mutex mutex;
  std::unique_ptr<Switch> l2_switch;
  std::vector<std::unique_ptr<EngineWorker>> workers;
  std::map<PortId, Port> ports;
  UniqueFd events;  // an epoll over the ports' event_fd
  DepartedPorts departed;
  DropCounts dropped_between;
};

}  // namespace sluice

#endif  // SLUICE_CONTROL_ENGINE_INTERNAL_H_
