// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nic/model/allowance_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {
namespace {

uint32_t BytesOf(const Packet& packet) {
  size_t bytes = 0;
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) bytes += piece->buffer_size();
  return static_cast<uint32_t>(bytes);
}

}  // namespace

size_t Allowance::Charge(Packet* const* packets, size_t n) {
  if (owner_ == kNobody) return n;
  size_t charged = 0;
  while (charged < n && PacketPool::Recharge(*packets[charged], owner_)) ++charged;
  short_.store(charged < n, std::memory_order_relaxed);
  return charged;
}

bool Allowance::Hopeless(const Packet& packet) const {
  const BudgetBook* const book = packet.pool()->options().budget;
  return book != nullptr && BytesOf(packet) > book->Use(owner_).allowance;
}

bool Allowance::RingWhenEnough(const Packet& packet, Doorbell& bell) {
  book_ = packet.pool()->options().budget;
  bell_ = &bell;
  bytes_ = BytesOf(packet);
  granted_ = false;
  const BudgetAnswer answer = book_->Wait(owner_, bytes_, *this);
  if (answer == BudgetAnswer::kWaiting) return true;
  if (answer == BudgetAnswer::kGranted) book_->Release(owner_, bytes_);
  book_ = nullptr;
  return false;
}

// The grant was a sign, and is given back: Charge then takes what it needs.
void Allowance::StopWaiting() {
  BudgetBook* const book = std::exchange(book_, nullptr);
  if (book == nullptr || book->Cancel(*this)) return;
  bell_->Expect();
  if (granted_) book->Release(owner_, bytes_);
}

void Allowance::Granted() {
  granted_ = true;
  bell_->Ring();
}

void Allowance::Refused() { bell_->Ring(); }

}  // namespace sluice
