// SPDX-License-Identifier: Apache-2.0
// Memory that the front-end lends: the guest's, the dirty log, the inflight area.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/vhost/dialogue_internal.h"
#include "nic/vhost/inflight_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::Status VhostDialogue::SetMemoryTable(const VhostMessage& message) {
  const auto table = message.As<VhostMemoryTable>();
  if (table.count == 0 || message.fd_count == 0)
    return VhostBreach("no memory came with it", kShareGuestMemory);
  if (table.count > kVhostTableRegions || message.fd_count != table.count ||
      message.header.size < offsetof(VhostMemoryTable, regions) + table.count * sizeof(VhostMemoryRegion)) {
    return VhostBreach(absl::StrCat(table.count, " regions with ", message.fd_count, " descriptors in ",
                                    message.header.size, " bytes"));
  }
  const absl::Status set =
      map_.Set({table.regions.data(), table.count}, {message.fds.data(), message.fd_count});
  if (set.ok()) AdoptMemory();
  return set;
}

absl::Status VhostDialogue::AddRegion(VhostMessage& message) {
  const absl::Status added = map_.Add(message.As<VhostSingleRegion>().region, message.TakeFd().get());
  if (added.ok()) AdoptMemory();
  return added;
}

absl::Status VhostDialogue::RemoveRegion(const VhostMessage& message) {
  const absl::Status removed = map_.Remove(message.As<VhostSingleRegion>().region);
  if (removed.ok()) AdoptMemory();
  return removed;
}

// The rings rest before they lose the old table. One that waits for memory may find it in the next table.
void VhostDialogue::AdoptMemory() {
  RestAll();
  memory_ = map_.memory();
  for (uint16_t i = 0; i < rings_.size(); ++i) (void)Settle(i);
}

// The document wants an answer to it. Its payload is nobody's: most front-ends read an acknowledgement there.
absl::Status VhostDialogue::SetLog(VhostMessage& message) {
  const auto area = message.As<VhostLogArea>();
  for (const VhostMemoryMap::Region& region : map_.regions()) {
    const uint64_t last_page = (region.said.guest + region.said.bytes - 1) / DirtyLog::kPage;
    if (last_page / 8 >= area.bytes)
      return VhostBreach(absl::StrCat("a log of ", area.bytes, " bytes ends before the guest's memory does"));
  }
  absl::StatusOr<MappedFile> mapped = MapFile(message.TakeFd().get(), area.offset, area.bytes);
  if (!mapped.ok()) return mapped.status();
  RestAll();
  log_ = std::make_shared<const DirtyLog>(mapped->here, area.bytes, std::move(mapped->mapping));
  if (absl::Status settled = SettleAll(); !settled.ok()) return settled;
  return AnswerWith(message, uint64_t{0});
}

namespace {

absl::Status CheckArea(const VhostInflightArea& area, size_t most_rings) {
  if (area.queues == 0 || area.queues > most_rings || area.ring == 0 || area.ring > kVhostLargestRing)
    return VhostBreach(absl::StrCat(area.queues, " rings of ", area.ring, " entries"));
  return absl::OkStatus();
}

UniqueFd MakeInflightFile(uint64_t bytes) {
  UniqueFd file(memfd_create("sluice-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const bool made = file.valid() && ftruncate(file.get(), static_cast<off_t>(bytes)) == 0 &&
                    fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0;
  return made ? std::move(file) : UniqueFd();
}

}  // namespace

// A fresh one, all zero. It counts from SET_INFLIGHT_FD on, with which the front-end brings it, or that of our predecessor.
absl::Status VhostDialogue::GetInflight(const VhostMessage& message) {
  auto area = message.As<VhostInflightArea>();
  if (absl::Status checked = CheckArea(area, rings_.size()); !checked.ok()) return checked;
  area.bytes = uint64_t{area.queues} * VhostInflightBytes(packed(), area.ring);
  area.offset = 0;
  const UniqueFd file = MakeInflightFile(area.bytes);
  if (!file.valid())
    return VhostBreach("no memory for it to be had", "free memory, or raise the limit of open files", errno);
  const int fd = file.get();
  return Answer(message, {reinterpret_cast<const uint8_t*>(&area), message.header.size}, {&fd, 1});
}

absl::Status VhostDialogue::SetInflight(VhostMessage& message) {
  const auto area = message.As<VhostInflightArea>();
  if (absl::Status checked = CheckArea(area, rings_.size()); !checked.ok()) return checked;
  if (std::any_of(rings_.begin(), rings_.end(), [](const Ring& r) { return r.state != RingState::kStopped; }))
    return VhostBreach("it may not change while rings run", "stop them first (GET_VRING_BASE)");
  absl::StatusOr<MappedFile> mapped = MapFile(message.TakeFd().get(), area.offset, area.bytes);
  if (!mapped.ok()) return mapped.status();
  inflight_ = Inflight{*std::move(mapped), area};
  return absl::OkStatus();
}

// Checked when a ring starts, for only then its format is sure.
absl::Status VhostDialogue::InflightOf(const Ring& ring, uint16_t index, InflightRegion& found) const {
  if (!inflight_ || index >= inflight_->area.queues) return absl::OkStatus();
  const VhostInflightArea& area = inflight_->area;
  const size_t bytes = VhostInflightBytes(packed(), area.ring);
  if (ring.size > area.ring || bytes * area.queues > area.bytes) {
    return VhostBreach(absl::StrCat("an inflight area of ", area.bytes, " bytes for ", area.queues,
                                    " rings of ", area.ring, " entries, and a ring of ", ring.size));
  }
  found = {inflight_->file.here + index * bytes, bytes, inflight_->file.mapping};
  return absl::OkStatus();
}

}  // namespace sluice
