// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_TRIALS_INTERNAL_H_
#define SLUICE_NIC_VERBS_TRIALS_INTERNAL_H_

// What only trials tell of a device: objects are made, rules put on a queue pair that nobody uses, and taken away again.
// On a card that is some dozens of commands to its firmware, and nothing else changes by them: what came of them is
// remembered for the life of the process.
//
//   Open ──▶ key: the device, its port, and all that ibv_query_device_ex(3) says ──known──▶ as the last time
//                                                                            └────not──▶ trials ──▶ remembered
//
// The key has the card's GUIDs, the version of its firmware and every capability, so that a card that was exchanged, got
// another firmware, or was set up differently is tried anew. A failure that may pass (no memory, no privilege, a device
// that is going) is no answer: then nothing is remembered.

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sluice/nic/verbs_nic.h"

namespace sluice {

struct VerbsTrials {
  // That completions of the extended kind can tell: IBV_WC_EX_WITH_... in a set; 0 = there are none.
  uint64_t told = 0;
  // Whether a completion queue of the extended kind may be polled as a plain one, too.
  bool polls_plainly = false;
  bool extended_send = false;
  bool blocks_own_multicast = false;
  uint32_t priorities = 1;
  int no_spread = 0;  // an errno; 0 = queue pairs that spread can be made

  std::vector<VerbsCapability> described{};  // one for each trial that is told
  bool lasting = true;                       // whether each failure would be the same the next time
};

using VerbsTrialKey = std::string;
VerbsTrialKey TrialKey(const ibv_context& context, const ibv_device_attr_ex& attr, uint8_t port);

// Any thread.
std::optional<VerbsTrials> RecallTrials(const VerbsTrialKey& key);
void RememberTrials(const VerbsTrialKey& key, const VerbsTrials& trials);

// What a trial came to, without where: "no such thing: EINVAL (...)"; empty: well.
std::string ReasonOf(const absl::Status& status);

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_TRIALS_INTERNAL_H_
