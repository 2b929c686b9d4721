// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/rss_check_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::Status CheckRssTable(const std::string& device, const RssConfig& rss, uint32_t entries,
                           uint16_t queues) {
  const auto refuse = [&device](std::string what, std::string remedy) {
    return ErrorStatus(
        absl::StatusCode::kInvalidArgument,
        {.device = device, .stage = "set RSS", .what = std::move(what), .remedy = std::move(remedy)});
  };
  if (rss.table().size() > entries) {
    return refuse(absl::StrCat("indirection table of ", rss.table().size(), " entries"),
                  absl::StrCat("use at most ", entries));
  }
  const QueueId last = *std::max_element(rss.table().begin(), rss.table().end());
  if (last.value() < queues) return absl::OkStatus();
  return refuse(absl::StrCat("queue ", last.value(), " in the table"),
                absl::StrCat("use queues below ", queues));
}

}  // namespace sluice
