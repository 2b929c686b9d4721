// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/packet.h"

#include <algorithm>
#include <cstring>

#include "sluice/packet/packet_pool.h"
#include "sluice/packet/shared_packet.h"

namespace sluice {

bool Packet::Own() {
  for (const Packet* piece = this; piece != nullptr; piece = piece->next_) {
    if (piece->borrows() && piece->head_length_ > piece->buffer_size()) return false;
  }
  for (Packet* piece = this; piece != nullptr; piece = piece->next_) {
    if (piece->borrows()) piece->CopyLoan();
  }
  return true;
}

void Packet::CopyLoan() {
  const size_t spare = buffer_size() - head_length_;
  uint8_t* const own = buffer_ + std::min<size_t>(spare, pool()->options().headroom);
  std::memcpy(own, data_, head_length_);
  data_ = own;
  EndLoan();
}

// The flag goes first: a lender may look at the packet, but must not be told twice.
void Packet::EndLoan() {
  Packet* const lending = lending_packet();
  home_ &= ~(kBorrows | kShares);
  if (lending != nullptr) return SharedPacket::Return(lending, 1);
  details_.lender->Returned(details_.cookie);
}

bool Packet::CopyOut(uint32_t offset, uint32_t bytes, uint8_t* to) const {
  if (offset > length_ || bytes > length_ - offset) return false;
  for (const Packet* piece = this; bytes > 0; piece = piece->next_) {
    if (offset < piece->head_length_) {
      const uint32_t here = std::min(bytes, piece->head_length_ - offset);
      std::memcpy(to, piece->data_ + offset, here);
      to += here;
      bytes -= here;
      offset = 0;
    } else {
      offset -= piece->head_length_;
    }
  }
  return true;
}

}  // namespace sluice
