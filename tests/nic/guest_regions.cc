// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/guest_regions.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace sluice::testing {
namespace {

constexpr uint64_t kHole = 16 * kGuestPage;

std::unique_ptr<Region> NewRegion(size_t bytes) {
  absl::StatusOr<std::unique_ptr<Region>> region =
      Region::Create({.name = "guest", .bytes = bytes, .huge_pages = HugePages::kOff});
  if (!region.ok()) throw std::runtime_error(std::string(region.status().message()));
  return *std::move(region);
}

}  // namespace

GuestMemoryFile::GuestMemoryFile(uint64_t guest, size_t bytes, size_t offset)
    : guest_(guest), bytes_(bytes), offset_(offset), region_(NewRegion(offset + bytes)) {}

// Every second one does not begin where its file does.
std::shared_ptr<const GuestMemoryFile> GuestRegions::Add(size_t bytes) {
  const size_t whole = (bytes + kGuestPage - 1) / kGuestPage * kGuestPage;
  files_.push_back(std::make_shared<const GuestMemoryFile>(next_, whole, made_++ % 2 * kGuestPage));
  next_ += whole + kHole;
  return files_.back();
}

void GuestRegions::Remove(const GuestMemoryFile& file) {
  std::erase_if(files_, [&](const auto& held) { return held.get() == &file; });
}

std::vector<GuestPage> GuestRegions::PagesOf(const GuestMemoryFile& file, size_t offset) {
  std::vector<GuestPage> pages;
  const SharedMemory memory = file.memory();
  for (; offset + kGuestPage <= memory.bytes; offset += kGuestPage) {
    pages.push_back({memory.here + offset, memory.guest + offset});
  }
  return pages;
}

}  // namespace sluice::testing
