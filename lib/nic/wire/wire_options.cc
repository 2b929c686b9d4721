// SPDX-License-Identifier: Apache-2.0
#include <net/if.h>

#include <utility>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "nic/wire/wire_options_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint32_t kSmallestFrame = 64;
constexpr uint32_t kLargestFrame = 65535;

}  // namespace

absl::Status RefuseOption(const std::string& device, std::string what, std::string remedy) {
  return ErrorStatus(
      absl::StatusCode::kInvalidArgument,
      {.device = device, .stage = "check options", .what = std::move(what), .remedy = std::move(remedy)});
}

absl::Status CheckWireOptions(const std::string& device, const WireOptions& options) {
  if (options.lanes == 0 || options.lanes > kMostLanes)
    return RefuseOption(device, absl::StrCat(options.lanes, " lanes"), absl::StrCat("use 1 to ", kMostLanes));
  if (options.ring > kLargestRing || !absl::has_single_bit(options.ring)) {
    return RefuseOption(device, absl::StrCat("a ring of ", options.ring),
                        absl::StrCat("use a power of two up to ", kLargestRing));
  }
  if (options.pool == nullptr)
    return RefuseOption(device, "no pool", "name the pool that frames are received into");
  return absl::OkStatus();
}

absl::Status CheckInterfaceOptions(const std::string& device, const std::string& interface,
                                   uint32_t max_frame) {
  if (interface.empty() || interface.size() >= IFNAMSIZ) {
    return RefuseOption(device, absl::StrCat("an interface name of ", interface.size(), " bytes"),
                        absl::StrCat("use a name of 1 to ", IFNAMSIZ - 1, " bytes"));
  }
  if (max_frame < kSmallestFrame || max_frame > kLargestFrame) {
    return RefuseOption(device, absl::StrCat("max_frame of ", max_frame),
                        absl::StrCat("use ", kSmallestFrame, " to ", kLargestFrame, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace sluice
