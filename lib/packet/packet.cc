// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/packet.h"

#include <algorithm>
#include <cstring>

#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/shared_packet.h"

namespace sluice {

// How many a loan takes beside this piece's own.
size_t Packet::FurtherBuffers() const {
  if (!borrows() || head_length_ <= buffer_size()) return 0;
  return (head_length_ - 1) / buffer_size();
}

bool Packet::Own() {
  Burst further;
  for (const Packet* piece = this; piece != nullptr; piece = piece->next_) {
    const size_t wanted = piece->FurtherBuffers();
    if (wanted == 0) continue;
    if (wanted > further.room() || piece->pool()->Get(further, wanted, piece->owner()) < wanted) return false;
  }
  for (Packet* piece = this; piece != nullptr; piece = piece->next_) {
    if (piece->borrows()) piece = piece->CopyLoan(further);
  }
  return true;
}

// Takes what it needs from the front of `further`, and returns the last piece that its bytes are in now.
Packet* Packet::CopyLoan(Burst& further) {
  const uint8_t* from = data_;
  uint32_t left = head_length_;
  const auto room = static_cast<uint32_t>(buffer_size());
  head_length_ = std::min(left, room);
  data_ = buffer_ + std::min<size_t>(room - head_length_, pool()->options().headroom);
  std::memcpy(data_, from, head_length_);
  Packet* last = this;
  while ((left -= last->head_length_) > 0) {
    from += last->head_length_;
    Packet* const piece = further.PopFront().release();
    piece->SetHeadroom(0);
    piece->head_length_ = std::min(left, room);
    piece->length_ = last->length_ - last->head_length_;
    std::memcpy(piece->data_, from, piece->head_length_);
    piece->next_ = last->next_;
    if (piece->next_ != nullptr) piece->home_ |= kFragments;
    last->Link(PacketPtr(piece));
    last = piece;
  }
  EndLoan();
  return last;
}

// The flag goes first: a lender may look at the packet, but must not be told twice.
void Packet::EndLoan() {
  Packet* const lending = lending_packet();
  home_ &= ~(kBorrows | kShares);
  if (lending != nullptr) return SharedPacket::Return(lending, 1);
  details_.lender->Returned({&details_.cookie, 1});
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
