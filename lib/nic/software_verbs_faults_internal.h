// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTWARE_VERBS_FAULTS_INTERNAL_H_
#define SLUICE_NIC_SOFTWARE_VERBS_FAULTS_INTERNAL_H_

// Faults of a software verbs device as words: of a configuration, and of an order to a device that runs. The forms stand in
// software_verbs_config.h.

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "sluice/nic/software_verbs.h"

namespace sluice {

inline constexpr absl::string_view kFaultForms =
    "fault none | seed N | overrun yes|no | late MICROSECONDS | send|receive lose|duplicate|reorder|delay "
    "CHANCE|frame N [by N]";

// Adds to `faults` what the words behind "fault" say; false, and nothing is changed, when they are none of the forms.
bool ReadFault(const std::vector<std::string>& words, SoftwareVerbsFaults& faults);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTWARE_VERBS_FAULTS_INTERNAL_H_
