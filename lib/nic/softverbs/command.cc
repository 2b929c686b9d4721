// SPDX-License-Identifier: Apache-2.0
// Orders from the control socket. The forms stand in software_verbs_config.h.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nic/softverbs/verbs_objects_internal.h"
#include "nic/software_verbs_faults_internal.h"

namespace sluice {
namespace {

using Words = std::vector<std::string>;

constexpr char kDone[] = "ok";

std::string Wrong(absl::string_view what) { return absl::StrCat("wrong: ", what); }

const char* NameOf(SoftQueuePair::State state) {
  constexpr const char* kNames[] = {"reset", "init", "receiving", "sending", "error"};
  return kNames[static_cast<size_t>(state)];
}

std::string Show(const SoftDevice& device) {
  const SoftwareVerbsStats stats = device.port.stats();
  std::string text =
      absl::StrCat("ok\ndevice ", device.options.name, device.removed ? " removed" : "", "\nport ",
                   device.port.up() ? "up" : "down", " sent ", stats.sent_frames, " received ",
                   stats.received_frames, " dropped ", stats.drops.total(), "\n");
  for (SoftQp* qp : device.live_pairs) {
    absl::StrAppend(&text, "queue ", qp->pair->number(), " ", NameOf(qp->pair->state()), "\n");
  }
  for (SoftWq* wq : device.live_work_queues) {
    absl::StrAppend(&text, "queue ", wq->wq_num, " ", wq->state == IBV_WQS_ERR ? "error" : "work", "\n");
  }
  for (const SoftCq* cq : device.live_completions) {
    absl::StrAppend(&text, "completions ", cq->handle, " has ", cq->queue.count(), " of ", cq->queue.size(),
                    cq->queue.overrun() ? " overrun" : "", "\n");
  }
  return text;
}

std::string Cable(SoftDevice& device, const Words& words) {
  if (words.size() != 2 || (words[1] != "pull" && words[1] != "plug"))
    return Wrong("give: cable pull | plug");
  device.PlugCable(words[1] == "plug");
  return kDone;
}

std::string Fault(SoftDevice& device, const Words& words) {
  SoftwareVerbsFaults faults = device.faults;
  if (!ReadFault(Words(words.begin() + 1, words.end()), faults))
    return Wrong(absl::StrCat("give: ", kFaultForms));
  device.SetFaults(faults);
  return kDone;
}

std::string FailQueue(SoftDevice& device, const Words& words) {
  uint32_t number = 0;
  const bool all = words.size() == 3 && words[1] == "all";
  const bool one = words.size() == 3 && absl::SimpleAtoi(words[1], &number);
  if ((!all && !one) || words[2] != "error") return Wrong("give: queue NUMBER|all error");
  const size_t failed = all ? device.FailQueues() : device.FailQueue(number);
  return failed > 0 ? kDone : Wrong("there is no such queue that can fail");
}

std::string Overrun(SoftDevice& device, const Words& words) {
  uint32_t handle = 0;
  if (words.size() != 3 || !absl::SimpleAtoi(words[1], &handle) || words[2] != "overrun") {
    return Wrong("give: completions NUMBER overrun");
  }
  return device.OverrunCompletions(handle) ? kDone : Wrong("there is no such queue that is sound");
}

}  // namespace

std::string Obey(SoftDevice& device, const std::string& order) {
  const Words words = absl::StrSplit(order, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty());
  const std::string first = words.empty() ? "" : words[0];
  const std::lock_guard lock(device.gate);
  if (first == "show" && words.size() == 1) return Show(device);
  if (first == "cable") return Cable(device, words);
  if (first == "fault") return Fault(device, words);
  if (first == "queue") return FailQueue(device, words);
  if (first == "completions") return Overrun(device, words);
  if (first == "remove" && words.size() == 1) return device.Remove(), kDone;
  return Wrong("give: show, cable, fault, queue, completions or remove");
}

}  // namespace sluice
