// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <utility>

#include "nic/wire/piece_writer_internal.h"
#include "nic/wire/tap_receiver_internal.h"

namespace sluice {
namespace {

constexpr size_t kLongest = 14 + 4 + 65535;  // tagged, the IP datagram as long as it can tell

}  // namespace

TapReceiver::TapReceiver(const TapDevice& device, PacketPool& pool, uint32_t longest)
    : device_(device),
      pool_(pool),
      headroom_(pool.options().headroom),
      room_(pool.options().buffer_size - headroom_),
      wanted_(std::min(PieceWriter::PiecesFor(pool, longest), kMost)),
      spill_(kLongest) {
  parts_.back() = {spill_.data(), spill_.size()};
}

TapResult TapReceiver::Read(PacketPtr& packet, DropReason& reason) {
  if (!Stock()) return TapResult::kNotNow;
  parts_[first_] = {&header_, sizeof(header_)};
  const ssize_t bytes = readv(device_.fd(), &parts_[first_], static_cast<int>(parts_.size() - first_));
  if (bytes < 0) return errno == EBADFD || errno == EIO ? TapResult::kGone : TapResult::kNotNow;

  reason = DropReason::kDeviceError;
  if (bytes < static_cast<ssize_t>(sizeof(header_))) return TapResult::kDropped;
  packet = Take(static_cast<size_t>(bytes) - sizeof(header_));
  reason = DropReason::kNoBuffer;
  if (packet == nullptr) return TapResult::kDropped;
  const std::optional<DropReason> refused = TakeIn(header_, *packet);
  reason = refused.value_or(reason);
  return refused ? TapResult::kDropped : TapResult::kDone;
}

// As many buffers as wanted, or as there are; false when there is none.
bool TapReceiver::Stock() {
  const size_t held = kMost - first_;
  if (held >= wanted_) return true;
  std::array<Packet*, kMost> fresh;
  const size_t got = pool_.GetRaw(fresh.data(), wanted_ - held);
  for (size_t i = 0; i < got; ++i) {
    stock_[--first_] = fresh[i];
    parts_[first_ + 1] = {fresh[i]->buffer() + headroom_, room_};
  }
  return first_ < kMost;
}

// The frame that was read; null when the pool has no buffers for what was spilled.
PacketPtr TapReceiver::Take(size_t bytes) {
  size_t left = bytes;
  PacketPtr head = TakePiece(left);
  const uint32_t in_head = head->length();
  for (Packet* last = head.get(); left > 0 && first_ < kMost; last = last->next())
    last->Link(TakePiece(left));
  head->CountLinked(static_cast<uint32_t>(bytes - left) - in_head);
  if (left == 0) return head;
  PieceWriter rest(pool_);
  if (!rest.Write(spill_.data(), left)) return nullptr;
  head->Append(rest.Finish());
  return head;
}

PacketPtr TapReceiver::TakePiece(size_t& left) {
  PacketPtr piece(stock_[first_++]);
  const size_t here = std::min(left, room_);
  piece->Restart(headroom_, static_cast<uint32_t>(here));
  left -= here;
  return piece;
}

void TapReceiver::Rest() {
  pool_.PutRaw(&stock_[first_], kMost - first_);
  first_ = kMost;
}

}  // namespace sluice
