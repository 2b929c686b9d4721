// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_RSS_CHECK_INTERNAL_H_
#define SLUICE_NIC_RSS_CHECK_INTERNAL_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "sluice/packet/rss.h"

namespace sluice {

// Whether the table is one for a device with room for `entries`, that runs `queues`. kInvalidArgument, in its name.
absl::Status CheckRssTable(const std::string& device, const RssConfig& rss, uint32_t entries,
                           uint16_t queues);

}  // namespace sluice

#endif  // SLUICE_NIC_RSS_CHECK_INTERNAL_H_
