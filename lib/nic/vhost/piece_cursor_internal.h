// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_PIECE_CURSOR_INTERNAL_H_
#define SLUICE_NIC_VHOST_PIECE_CURSOR_INTERNAL_H_

// Goes through the pieces of chains, part by part. Who asks for no more bytes than there are gets them.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/guest_words_internal.h"

namespace sluice {

class PieceCursor {
 public:
  explicit PieceCursor(absl::Span<const RingPiece> pieces) : piece_(pieces.data()) {}

  // The next bytes that lie in one place: at least one, at most `most`, which is not 0.
  absl::Span<uint8_t> Next(size_t most) {
    if (offset_ == piece_->bytes) {
      ++piece_;
      offset_ = 0;
    }
    const size_t here = std::min<size_t>(most, piece_->bytes - offset_);
    uint8_t* const at = piece_->at + offset_;
    offset_ += static_cast<uint32_t>(here);
    return {at, here};
  }

  void Read(uint8_t* to, size_t bytes) {
    while (bytes != 0) {
      const absl::Span<uint8_t> part = Next(bytes);
      CopyBytes(to, part.data(), part.size());
      to += part.size();
      bytes -= part.size();
    }
  }
  // Each part by `way`.Copy.
  template <typename Way>
  void Write(Way& way, const uint8_t* from, size_t bytes) {
    while (bytes != 0) {
      const absl::Span<uint8_t> part = Next(bytes);
      way.Copy(part.data(), from, part.size());
      from += part.size();
      bytes -= part.size();
    }
  }

 private:
  const RingPiece* piece_;
  uint32_t offset_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_PIECE_CURSOR_INTERNAL_H_
