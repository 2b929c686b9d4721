// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_LENDER_H_
#define SLUICE_TESTS_SUPPORT_LENDER_H_

#include <cstdint>

#include "tests/support/frames.h"

namespace sluice::testing {

// Counts what comes back.
struct CountingLender : Lender {
  void Returned(absl::Span<const uint64_t> cookies) override { returned += cookies.size(); }

  // A packet with a copy of the first `head` bytes of the frame, and the rest of it lent.
  PacketPtr Lend(PacketPool& pool, Bytes& frame, size_t head) {
    PacketPtr packet = MakePacket(pool, Bytes(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(head)));
    PacketPtr rest = pool.GetOne();
    rest->BorrowBytes(&frame[head], static_cast<uint32_t>(frame.size() - head), *this, 0);
    packet->Append(std::move(rest));
    return packet;
  }

  size_t returned = 0;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_LENDER_H_
