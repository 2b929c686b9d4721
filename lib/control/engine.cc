// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/engine.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "control/engine_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint16_t kMaxWorkers = 64;
constexpr uint32_t kUsualRing = 1024;

absl::Status Refuse(absl::StatusCode code, std::string what, std::string remedy) {
  return ErrorStatus(
      code, {.device = "engine", .stage = "configure", .what = std::move(what), .remedy = std::move(remedy)});
}

uint16_t QueuesOr(uint16_t asked, uint16_t most, size_t workers) {
  return asked != 0 ? asked : std::min(most, static_cast<uint16_t>(workers));
}

uint32_t RingOr(uint32_t asked, uint32_t most) { return asked != 0 ? asked : std::min(most, kUsualRing); }

uint64_t PacketsOf(const std::vector<QueueSnapshot>& queues) {
  uint64_t sum = 0;
  for (const QueueSnapshot& queue : queues) sum += queue.stats.packets;
  return sum;
}

DropCounts Less(DropCounts whole, const DropCounts& part) {
  for (size_t i = 0; i < kDropReasonCount; ++i) whole.by_reason[i] -= part.by_reason[i];
  return whole;
}

}  // namespace

// Beginning and end.
// ---------------------------------------------------------------------------------------------------
Engine::Engine(std::unique_ptr<Control> control) : control_(std::move(control)) {}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options) {
  if (options.pool == nullptr) {
    return Refuse(absl::StatusCode::kInvalidArgument, "no pool", "set EngineOptions::pool");
  }
  if (options.workers == 0 || options.workers > kMaxWorkers) {
    return Refuse(absl::StatusCode::kInvalidArgument, absl::StrCat(options.workers, " workers"),
                  absl::StrCat("ask for 1 to ", kMaxWorkers));
  }
  auto l2_switch = Switch::Create({.pool = options.pool,
                                   .workers = options.workers,
                                   .max_ports = options.max_ports,
                                   .max_addresses = options.max_addresses,
                                   .ageing = options.ageing,
                                   .clock = options.clock});
  if (!l2_switch.ok()) return l2_switch.status();
  auto control = std::make_unique<Control>(options);
  control->l2_switch = *std::move(l2_switch);
  if (absl::Status made = control->MakeWorkers(); !made.ok()) return made;
  return std::unique_ptr<Engine>(new Engine(std::move(control)));
}

absl::Status Engine::Control::MakeWorkers() {
  events = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!events.valid()) {
    return ErrorStatus({.device = "engine",
                        .stage = "make an epoll descriptor",
                        .error_number = errno,
                        .remedy = "raise the limit of open files (ulimit -n)"});
  }
  for (uint16_t i = 0; i < options.workers; ++i) {
    workers.push_back(
        std::make_unique<EngineWorker>(WorkerId{i}, options.worker, *l2_switch, *options.clock));
    if (absl::Status opened = workers.back()->Open(); !opened.ok()) return opened;
  }
  return absl::OkStatus();
}

Engine::~Engine() {
  while (!control_->ports.empty()) (void)RemovePort(control_->ports.begin()->first);
}

// Ports come and go.
// ---------------------------------------------------------------------------------------------------
absl::StatusOr<PortId> Engine::AddPort(std::unique_ptr<Nic> nic, const PortOptions& options) {
  if (nic == nullptr) {
    return ErrorStatus(
        absl::StatusCode::kInvalidArgument,
        {.device = "engine", .stage = "add a port", .what = "no Nic", .remedy = "open one first"});
  }
  const std::lock_guard lock(control_->mutex);
  Control& control = *control_;
  SwitchPortOptions switching = options.switching;
  if (switching.name.empty()) switching.name = nic->name();
  switching.inserts_vlan = nic->capabilities().vlan_insert;

  // The switch gives the number first, for arrivals carry it. Until the workers have their plans, what it
  // floods there is held.
  const absl::StatusOr<PortId> id = control.l2_switch->AddPort(switching);
  if (!id.ok()) return id.status();
  Port port{.nic = std::move(nic), .pollers = {}, .hand_overs = {}};
  absl::Status started = control.Start(port, *id, options);
  if (started.ok()) {
    control.Connect(port, *id);
    started = control.Watch(port);
  }
  if (!started.ok()) {
    control.Unwatch(port);
    (void)port.nic->Stop();
    (void)control.l2_switch->RemovePort(*id);
    return started;
  }
  control.ports.emplace(*id, std::move(port));
  control.Publish();
  return *id;
}

absl::Status Engine::Control::Start(Port& port, PortId id, const PortOptions& port_options) {
  const Capabilities& can = port.nic->capabilities();
  return port.nic->Start({.rx_queues = QueuesOr(port_options.rx_queues, can.max_rx_queues, workers.size()),
                          .tx_queues = QueuesOr(port_options.tx_queues, can.max_tx_queues, workers.size()),
                          .rx_ring = RingOr(port_options.rx_ring, can.max_ring_size),
                          .tx_ring = RingOr(port_options.tx_ring, can.max_ring_size),
                          .pool = options.pool,
                          .owner = port_options.owner,
                          .port = id});
}

// Shares the queues out: see "Queues" in engine.h.
void Engine::Control::Connect(Port& port, PortId id) {
  const size_t count = workers.size();
  for (uint16_t queue = 0; queue < port.nic->rx_count(); ++queue) {
    port.pollers.push_back(workers[(id.value() + size_t{queue}) % count]->id());
  }
  for (size_t i = port.nic->tx_count(); i < count; ++i) {
    EngineWorker& owner = *workers[i % port.nic->tx_count()];
    port.hand_overs.push_back(std::make_unique<HandOver>(workers[i]->id(), owner, kUsualRing));
  }
}

absl::Status Engine::RemovePort(PortId id) {
  const std::lock_guard lock(control_->mutex);
  Control& control = *control_;
  const auto found = control.ports.find(id);
  if (found == control.ports.end()) {
    return Refuse(absl::StatusCode::kNotFound, absl::StrCat("no port ", id.value()),
                  "ask Engine::snapshot for those there are");
  }
  // From Publish on, nobody uses the queues.
  Port port = std::move(found->second);
  control.ports.erase(found);
  control.Publish();
  control.Unwatch(port);
  control.Retire(port);
  return control.l2_switch->RemovePort(id);
}

// Keeps what the port did, frees what was on its way to it, and stops the device, which then counts what was in it.
void Engine::Control::Retire(Port& port) {
  const PortSnapshot last = SnapshotOf(PortId{}, port);
  departed.received += PacketsOf(last.rx);
  departed.sent += PacketsOf(last.tx);
  DropCounts send_drops;
  for (const QueueSnapshot& queue : last.tx) send_drops += queue.stats.drops;
  for (const std::unique_ptr<HandOver>& over : port.hand_overs) {
    dropped_between[DropReason::kPortRemoved] += over->ring.Clear() + over->taken.size();
    dropped_between += over->drops.Read();
    over->taken.Clear();
  }
  (void)port.nic->Stop();
  departed.send_drops += send_drops;
  departed.receive_drops += Less(port.nic->drops(), send_drops);
}

// Descriptors that wake.
// ---------------------------------------------------------------------------------------------------
absl::Status Engine::Control::Watch(const Port& port) {
  for (uint16_t queue = 0; queue < port.nic->rx_count(); ++queue) {
    EngineWorker& poller = *workers[port.pollers[queue].value()];
    if (absl::Status watched = poller.Watch(port.nic->rx(QueueId{queue}).fd()); !watched.ok()) return watched;
  }
  epoll_event readable{};
  readable.events = EPOLLIN;
  const int event_fd = port.nic->event_fd();
  if (event_fd < 0 || epoll_ctl(events.get(), EPOLL_CTL_ADD, event_fd, &readable) == 0)
    return absl::OkStatus();
  return ErrorStatus({.device = port.nic->name(),
                      .stage = "watch for events",
                      .error_number = errno,
                      .remedy = "raise the limit of epoll watches (sysctl fs.epoll.max_user_watches)"});
}

void Engine::Control::Unwatch(const Port& port) {
  for (uint16_t queue = 0; queue < port.pollers.size(); ++queue) {
    workers[port.pollers[queue].value()]->Unwatch(port.nic->rx(QueueId{queue}).fd());
  }
  const int event_fd = port.nic->event_fd();
  if (event_fd >= 0) (void)epoll_ctl(events.get(), EPOLL_CTL_DEL, event_fd, nullptr);
}

std::vector<PortEvent> Engine::TakeEvents() {
  const std::lock_guard lock(control_->mutex);
  std::vector<PortEvent> taken;
  for (auto& [id, port] : control_->ports) {
    for (NicEvent& event : port.nic->TakeEvents()) {
      port.gone |= event.kind == NicEvent::Kind::kRemoved;
      taken.push_back({.port = id, .event = std::move(event)});
    }
  }
  return taken;
}

int Engine::event_fd() const { return control_->events.get(); }

// Plans.
// ---------------------------------------------------------------------------------------------------
void Engine::Control::Publish() {
  std::vector<std::unique_ptr<const WorkerPlan>> old;
  for (const std::unique_ptr<EngineWorker>& worker : workers) old.push_back(worker->Follow(PlanOf(*worker)));
  l2_switch->WaitForTurns();
}

std::unique_ptr<const WorkerPlan> Engine::Control::PlanOf(const EngineWorker& worker) const {
  auto plan = std::make_unique<WorkerPlan>();
  if (!ports.empty()) plan->exits.resize(size_t{ports.rbegin()->first.value()} + 1);
  for (const auto& [id, port] : ports) {
    for (uint16_t queue = 0; queue < port.pollers.size(); ++queue) {
      if (port.pollers[queue] != worker.id()) continue;
      RxQueue& rx = port.nic->rx(QueueId{queue});
      plan->sources.push_back({.port = id, .queue = &rx});
      plan->needs_tick |= rx.fd() < 0;
    }
    WorkerPlan::Exit& exit = plan->exits[id.value()];
    if (worker.id().value() < port.nic->tx_count()) exit.queue = &port.nic->tx(QueueId{worker.id().value()});
    for (const std::unique_ptr<HandOver>& over : port.hand_overs) {
      if (over->from == worker.id()) exit.over = over.get();
      if (&over->owner == &worker) plan->errands.push_back({.over = over.get(), .queue = exit.queue});
    }
  }
  return plan;
}

// What there is.
// ---------------------------------------------------------------------------------------------------
uint16_t Engine::worker_count() const { return static_cast<uint16_t>(control_->workers.size()); }

Worker& Engine::worker(WorkerId id) { return *control_->workers[id.value()]; }

Switch& Engine::l2_switch() { return *control_->l2_switch; }

Nic* Engine::nic(PortId port) {
  const std::lock_guard lock(control_->mutex);
  const auto found = control_->ports.find(port);
  return found == control_->ports.end() ? nullptr : found->second.nic.get();
}

PortSnapshot Engine::Control::SnapshotOf(PortId id, const Port& port) const {
  PortSnapshot taken{.id = id,
                     .name = {},
                     .nic = port.nic->name(),
                     .link = port.nic->link(),
                     .gone = port.gone,
                     .modes = port.nic->modes(),
                     .features = port.nic->feature_names(),
                     .rx = {},
                     .tx = {},
                     .nic_drops = port.nic->drops(),
                     .switching = {}};
  for (uint16_t i = 0; i < port.nic->rx_count(); ++i) {
    taken.rx.push_back(
        {.id = QueueId{i}, .worker = port.pollers[i], .stats = port.nic->rx(QueueId{i}).stats()});
  }
  for (uint16_t i = 0; i < port.nic->tx_count(); ++i) {
    taken.tx.push_back({.id = QueueId{i}, .worker = WorkerId{i}, .stats = port.nic->tx(QueueId{i}).stats()});
  }
  for (const std::unique_ptr<HandOver>& over : port.hand_overs) {
    taken.handed_over += over->ring.size() + over->taken_count.load(std::memory_order_relaxed);
  }
  return taken;
}

Snapshot Engine::snapshot() const {
  const std::lock_guard lock(control_->mutex);
  const Control& control = *control_;
  const PacketPool& pool = *control.options.pool;
  Snapshot taken{
      .taken = control.options.clock->Now(),
      .pool = {.name = pool.options().name, .packets = pool.options().packets, .available = pool.available()},
      .ports = {},
      .workers = {},
      .l2_switch = control.l2_switch->stats(),
      .addresses = control.l2_switch->addresses(),
      .departed = control.departed,
      .dropped_between = control.dropped_between};
  for (const auto& [id, port] : control.ports) {
    for (const std::unique_ptr<HandOver>& over : port.hand_overs) taken.dropped_between += over->drops.Read();
  }
  for (const SwitchPort& seen : control.l2_switch->ports()) {
    const auto found = control.ports.find(seen.id);
    if (found == control.ports.end()) continue;
    taken.ports.push_back(control.SnapshotOf(seen.id, found->second));
    taken.ports.back().name = seen.options.name;
    if (auto stats = control.l2_switch->port_stats(seen.id); stats.ok())
      taken.ports.back().switching = *stats;
  }
  for (const std::unique_ptr<EngineWorker>& worker : control.workers) {
    taken.workers.push_back({.id = worker->id(), .mode = worker->options().mode, .stats = worker->stats()});
  }
  return taken;
}

}  // namespace sluice
