// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/nic/driver_ring_book.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kLargestRing = 32768;

size_t DriverBytes(const DriverRingOptions& options) {
  return options.packed ? sizeof(vring_packed_desc_event) : 2 * (size_t{3} + options.size);
}

size_t DeviceBytes(const DriverRingOptions& options) {
  return options.packed ? sizeof(vring_packed_desc_event)
                        : 2 * size_t{3} + sizeof(vring_used_elem) * options.size;
}

// From one part to the next: 64 bytes apart at least, so that none shares a line with another.
size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t TableBytes(const DriverRingOptions& options) {
  return options.indirect ? sizeof(vring_desc) * options.table * options.size : 0;
}

void CheckOptions(const DriverRingOptions& options, const SharedMemory& memory) {
  const bool size = options.size > 0 && options.size <= kLargestRing &&
                    (options.packed || std::has_single_bit(options.size));
  if (!size) throw std::invalid_argument("a ring has 1 to 32,768 descriptors, a split one a power of two");
  if (options.indirect && options.table == 0) throw std::invalid_argument("a table has room for something");
  if (memory.bytes < DriverRing::BytesFor(options))
    throw std::invalid_argument("too little memory for the ring");
}

}  // namespace

size_t DriverRing::BytesFor(const DriverRingOptions& options) {
  return Aligned(sizeof(vring_desc) * options.size) + Aligned(DriverBytes(options)) +
         Aligned(DeviceBytes(options)) + TableBytes(options);
}

std::unique_ptr<DriverRing> DriverRing::Make(const DriverRingOptions& options, const SharedMemory& memory) {
  CheckOptions(options, memory);
  std::memset(memory.here, 0, BytesFor(options));
  RingParts parts = {.descriptor_bytes = sizeof(vring_desc) * options.size,
                     .driver_bytes = DriverBytes(options),
                     .device_bytes = DeviceBytes(options)};
  parts.descriptors = memory.here;
  parts.driver = parts.descriptors + Aligned(parts.descriptor_bytes);
  parts.device = parts.driver + Aligned(parts.driver_bytes);
  uint8_t* const tables = parts.device + Aligned(parts.device_bytes);
  return options.packed ? MakePackedRing(options, memory, parts, tables)
                        : MakeSplitRing(options, memory, parts, tables);
}

BookedRing::BookedRing(const DriverRingOptions& options, const SharedMemory& memory, const RingParts& parts,
                       uint8_t* tables)
    : options_(options), memory_(memory), parts_(parts), tables_(tables), chains_(options.size) {}

std::optional<BookedRing::Shape> BookedRing::ShapeOf(absl::Span<const DriverPiece> chain, Lay lay) const {
  if (chain.empty()) throw std::invalid_argument("a chain of nothing");
  Shape shape = {.direct = chain.size()};
  const size_t first = lay == Lay::kMixed && !options_.packed ? 1 : 0;
  const bool tabled = options_.indirect && lay != Lay::kDirect && chain.size() > 1;
  if (tabled && chain.size() - first <= options_.table) shape = {.direct = first, .table = true};
  if (shape.direct > free_descriptors() || shape.slots() > free_descriptors()) return std::nullopt;
  return shape;
}

void BookedRing::NoteOut(uint16_t id, absl::Span<const DriverPiece> chain, uint16_t slots, uint64_t token) {
  Chain& noted = chains_[id];
  noted = {.token = token, .slots = slots, .out = true};
  for (const DriverPiece& piece : chain) noted.writable += piece.writable ? piece.bytes : 0;
  taken_slots_ = static_cast<uint16_t>(taken_slots_ + slots);
  ++out_;
  if (options_.in_order) order_.push_back(id);
}

// A device that promised order may speak of the last chain of a batch alone (2.7.9, 2.8.9): those before it were then used
// as well, and completely.
std::optional<UsedChain> BookedRing::TakeUsed() {
  if (!said_) said_ = ReadUsed();
  if (!said_) return std::nullopt;
  Demand(said_->id < options_.size && chains_[said_->id].out, "used a chain that is not out");
  const uint16_t id = options_.in_order ? order_.front() : said_->id;
  Chain& chain = chains_[id];
  const UsedChain used = {chain.token, id == said_->id ? said_->written : chain.writable};
  Demand(used.written <= chain.writable, "wrote more than there was room for");

  Pass(id, chain);
  chain.out = false;
  taken_slots_ = static_cast<uint16_t>(taken_slots_ - chain.slots);
  --out_;
  if (options_.in_order) order_.pop_front();
  if (id == said_->id) said_.reset();
  return used;
}

}  // namespace sluice::testing
