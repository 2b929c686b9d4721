// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_SOFT_DEVICE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_SOFT_DEVICE_INTERNAL_H_

// The device behind the verbs: what is in it, how many there may be of each, and the one lock.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "nic/softverbs/memory_internal.h"
#include "nic/softverbs/port_internal.h"
#include "nic/softverbs/service_internal.h"
#include "sluice/nic/software_verbs.h"

namespace sluice {

// How many of a kind there are.
class SoftQuota {
 public:
  explicit SoftQuota(uint32_t most) : most_(most) {}
  bool Take() {
    if (count_ == most_) return false;
    ++count_;
    return true;
  }
  void Give() { --count_; }

 private:
  const uint32_t most_;
  uint32_t count_ = 0;
};

struct SoftCq;
struct SoftQp;
struct SoftWq;

struct SoftDevice {
  SoftDevice(const SoftwareVerbsOptions& asked, std::unique_ptr<Wire> wire)
      : options(asked),
        clock(asked.clock == nullptr ? Clock::Monotonic() : *asked.clock),
        memory(asked.hardware.max_regions),
        port(options, clock, std::move(wire)),
        completion_queues(asked.hardware.max_completion_queues),
        queue_pairs(asked.hardware.max_queue_pairs),
        rules(asked.hardware.max_rules),
        work_queues(asked.hardware.max_work_queues) {
    port.OnChange([this](bool up) { TellPort(up); });
    SetFaults(asked.faults);
  }

  static uint16_t CountDevices();  // device.cc

  // device.cc. Under the gate.
  // ---------------------------------------------------------------------------------------------------------
  // Moves what can move, some bursts at the most, and sees to queues that were overrun by it; whether anything moved.
  bool Step();
  void PlugCable(bool plugged) {
    if (!removed) port.SetPlugged(plugged);
  }
  // As the calls of SoftwareVerbs.
  void SetFaults(const SoftwareVerbsFaults& asked);
  size_t FailQueue(uint32_t number);
  size_t FailQueues();
  bool OverrunCompletions(uint32_t handle);
  void Remove();
  void Burden(SoftCq& cq) const;  // with the faults that completions have

  // verbs_events.cc: to whoever has the device open. Under the gate.
  void TellPort(bool up) const;
  void TellRemoved() const;

  const SoftwareVerbsHardware& hardware() const { return options.hardware; }

  // Over all that follows.
  mutable std::mutex gate;

  const SoftwareVerbsOptions options;
  const uint16_t made = CountDevices();  // in this process, before this one
  const Clock& clock;
  SoftMemory memory;
  SoftPort port;
  SoftQuota completion_queues;
  SoftQuota queue_pairs;
  SoftQuota rules;
  SoftQuota work_queues;
  std::vector<int> event_pipes;  // of the contexts
  std::vector<SoftCq*> live_completions;
  std::vector<SoftQp*> live_pairs;
  std::vector<SoftWq*> live_work_queues;
  SoftwareVerbsFaults faults;
  std::vector<SoftCq*> overrun;  // and nobody told yet
  bool has_late = false;         // completions, or may have
  bool removed = false;
  uint32_t armed = 0;  // completion queues whose program may sleep; some of them have rung since
  uint64_t device_memory_used = 0;
  uint32_t last_domain = 0;
  uint32_t last_queue_pair = 0x40;  // of queue pairs and work queues; cards keep the first for themselves
  uint32_t last_completions = 0;
  SoftService service{*this};  // goes first
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_SOFT_DEVICE_INTERNAL_H_
