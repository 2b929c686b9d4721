// SPDX-License-Identifier: Apache-2.0
// How a pool begins and ends.
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "absl/strings/str_cat.h"
#include "packet/freed_packet_internal.h"
#include "packet/packet_stock_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint32_t kSmallestBuffer = 256;
constexpr uint32_t kLargestBuffer = 65536;

Problem ProblemOfPool(const PacketPoolOptions& options, const char* stage) {
  return {.device = absl::StrCat("pool ", options.name), .stage = stage};
}

absl::Status CheckOptions(const PacketPoolOptions& options) {
  Problem problem = ProblemOfPool(options, "check options");
  if (options.packets == 0) {
    problem.what = "packets is 0";
    problem.remedy = "ask for at least 1";
  } else if (!std::has_single_bit(options.buffer_size) || options.buffer_size < kSmallestBuffer ||
             options.buffer_size > kLargestBuffer) {
    problem.what = absl::StrCat("buffer_size is ", options.buffer_size);
    problem.remedy = absl::StrCat("use a power of two from ", kSmallestBuffer, " to ", kLargestBuffer);
  } else if (options.headroom >= options.buffer_size) {
    problem.what = absl::StrCat("headroom of ", options.headroom, " leaves no room in a buffer of ",
                                options.buffer_size);
    problem.remedy = "use a smaller headroom or a larger buffer_size";
  }
  if (problem.what.empty()) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kInvalidArgument, problem);
}

// Metadata stays out of the region: peers may write there. Whole huge pages when it fills any, for a burst
// touches packets all over the array.
Packet* AllocateMetadata(const PacketPoolOptions& options) {
  const size_t bytes = options.packets * sizeof(Packet);
  const bool huge = bytes >= kHugePage && options.huge_pages != HugePages::kOff;
  const size_t alignment = huge ? kHugePage : alignof(Packet);
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, rounded);
  if (huge && memory != nullptr) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: refusal costs speed only
  return static_cast<Packet*>(memory);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PacketPool>> PacketPool::Create(const PacketPoolOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  auto region = Region::Create({.name = options.name,
                                .bytes = size_t{options.packets} * options.buffer_size,
                                .huge_pages = options.huge_pages,
                                .node = options.node});
  if (!region.ok()) return region.status();
  Packet* const packets = AllocateMetadata(options);
  if (packets == nullptr) {
    Problem problem = ProblemOfPool(options, "allocate metadata");
    problem.what = absl::StrCat(options.packets, " packets of ", sizeof(Packet), " bytes");
    problem.remedy = "ask for fewer packets, or free memory";
    return ErrorStatus(absl::StatusCode::kResourceExhausted, problem);
  }
  return std::unique_ptr<PacketPool>(new PacketPool(options, *std::move(region), packets));
}

PacketPool::Fresh PacketPool::FreshData() const {
  static_assert(std::has_single_bit(sizeof(Packet)) && sizeof(Packet) <= kSmallestBuffer);
  const int shift = std::countr_zero(options_.buffer_size) - std::countr_zero(sizeof(Packet));
  const auto first = reinterpret_cast<uintptr_t>(region_->data()) + options_.headroom;
  return {.shift = shift, .start = first - (reinterpret_cast<uintptr_t>(packets_) << shift)};
}

// Backwards, so that the depot, a stack, gives the lowest first.
PacketPool::PacketPool(const PacketPoolOptions& options, std::unique_ptr<Region> region, Packet* packets)
    : options_(options),
      region_(std::move(region)),
      packets_(packets),
      fresh_(FreshData()),
      stock_(new Stock(packets)) {
  std::array<Packet*, PacketDepot::kGroup> group;
  for (uint32_t end = options.packets; end > 0;) {
    const uint32_t n = (end - 1) % PacketDepot::kGroup + 1;
    end -= n;
    for (uint32_t i = 0; i < n; ++i) group[i] = Make(end + i);
    stock_->depot.Push(group.data(), n);
  }
}

Packet* PacketPool::Make(uint32_t index) {
  Packet* const packet = new (&packets_[index]) Packet;
  packet->buffer_ = region_->data() + size_t{index} * options_.buffer_size;
  packet->home_ = reinterpret_cast<uintptr_t>(this);
  packet->buffer_shift_ = static_cast<uint8_t>(std::countr_zero(options_.buffer_size));
  if constexpr (kCheckFrees) packet->home_ |= Packet::kFree;
  return packet;
}

PacketPool::~PacketPool() {
  if constexpr (kCheckFrees) {
    for (uint32_t i = 0; i < options_.packets; ++i) FreedPacket::Forget(packets_[i]);
  }
  std::free(packets_);
}

}  // namespace sluice
