// SPDX-License-Identifier: Apache-2.0
// Counters of rules: which numbers they show is said first, then rules are made with them, then they are read.
#include <algorithm>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

constexpr uint32_t kMostShown = 64;

SoftCounters& CountersOf(ibv_counters* counters) { return *static_cast<SoftCounters*>(counters); }

}  // namespace

ibv_counters* CreateCounters(ibv_context* context, ibv_counters_init_attr* attr) {
  if (attr->comp_mask != 0) return Refuse(EOPNOTSUPP);
  auto* const made = new SoftCounters();
  made->context = context;
  return made;
}

int DestroyCounters(ibv_counters* counters) {
  SoftCounters* const ours = &CountersOf(counters);
  const std::lock_guard lock(DeviceOf(counters->context).gate);
  if (ours->users > 0) return EBUSY;
  delete ours;
  return 0;
}

int AttachCounter(ibv_counters* counters, ibv_counter_attach_attr* attr, ibv_flow* flow) {
  SoftCounters& ours = CountersOf(counters);
  const std::lock_guard lock(DeviceOf(counters->context).gate);
  if (flow != nullptr || attr->comp_mask != 0) return EOPNOTSUPP;
  if (attr->counter_desc != IBV_COUNTER_PACKETS && attr->counter_desc != IBV_COUNTER_BYTES) return EOPNOTSUPP;
  if (!ours.hits.empty()) return EBUSY;  // rules count in it already
  if (attr->index >= kMostShown) return EINVAL;
  const auto at_index = [&](const auto& shown) { return shown.first == attr->index; };
  if (std::any_of(ours.shown.begin(), ours.shown.end(), at_index)) return EINVAL;
  ours.shown.emplace_back(attr->index, attr->counter_desc);
  return 0;
}

int ReadCounters(ibv_counters* counters, uint64_t* values, uint32_t count, uint32_t) {
  const SoftCounters& ours = CountersOf(counters);
  const std::lock_guard lock(DeviceOf(counters->context).gate);
  uint64_t packets = 0, bytes = 0;
  for (const auto& hits : ours.hits) {
    packets += hits->packets.value();
    bytes += hits->bytes.value();
  }
  for (const auto& [index, what] : ours.shown) {
    if (index >= count) return EINVAL;
    values[index] = what == IBV_COUNTER_PACKETS ? packets : bytes;
  }
  return 0;
}

}  // namespace sluice
