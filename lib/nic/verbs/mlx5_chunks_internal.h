// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_CHUNKS_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_CHUNKS_INTERNAL_H_

// Memory of a striding receive queue: one request is a chunk, which the card fills with frame after frame, each from the
// start of a stride. Has met no card.
//
//   chunk 0  │ frame 0 │ frame 1 ......... │ frame 2 │ ... │ filler │   512 strides of 64 bytes, as a rule
//   chunk 1  │ frame 9 │ ...
//
// Frames are copied out, and a chunk whose last stride was read is the card's again: no request is ever written anew.
// A frame that the rest of a chunk has no room for begins the next; a completion without a frame (filler) says so.
// Threads: one at a time.

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "nic/verbs/mlx5_receiver_internal.h"
#include "nic/verbs/objects_internal.h"
#include "sluice/base/region.h"

namespace sluice {

// The shape of a chunk (mlx5dv_create_wq(3)).
struct Mlx5Strides {
  uint32_t log_bytes = 6;  // of a stride
  uint32_t log_count = 9;  // strides in a chunk

  uint32_t bytes() const { return 1u << log_bytes; }
  uint32_t count() const { return 1u << log_count; }
  uint32_t chunk_bytes() const { return 1u << (log_bytes + log_count); }
};

// What Mlx5Completion::bytes says of a striding queue.
struct Mlx5StridedBytes {
  explicit Mlx5StridedBytes(uint32_t said) : said_(said) {}
  bool filler() const { return said_ >> 31 != 0; }
  uint32_t strides() const { return said_ >> 16 & 0x7fff; }
  uint32_t length() const { return said_ & 0xffff; }

 private:
  uint32_t said_;
};

class Mlx5Chunks {
 public:
  // kResourceExhausted and the like when there is no memory, or it cannot be registered.
  static absl::StatusOr<Mlx5Chunks> Make(ibv_pd& domain, NodeId node, Mlx5Strides strides, uint32_t count);

  uint32_t count() const { return count_; }
  uint32_t chunk_bytes() const { return strides_.chunk_bytes(); }
  uint32_t key() const { return registered_->lkey; }
  uint8_t* At(uint32_t chunk) const { return region_->data() + size_t{chunk & (count_ - 1)} * chunk_bytes(); }

  // Where the frame of a completion lies, until its chunk is given back; null when it cannot be: the queue is to be reset.
  uint8_t* Take(const Mlx5Arrival& arrival) {
    const Mlx5StridedBytes said(arrival.bytes);
    const bool own =
        (arrival.owner & kMlx5FormatMask) == 0;  // a block tells of one chunk, and where it begins
    if (own && (arrival.counter != taken_ || ((arrival.said->request.get() ^ chunk_) & (count_ - 1)) != 0)) {
      return nullptr;
    }
    if (said.strides() > strides_.count() - taken_ || said.length() > said.strides() << strides_.log_bytes) {
      return nullptr;
    }
    uint8_t* const frame = At(chunk_) + (taken_ << strides_.log_bytes);
    taken_ += said.strides();
    if (taken_ == strides_.count()) {
      taken_ = 0;
      ++chunk_;
    }
    return frame;
  }
  // How many chunks were read to their end since the last call.
  uint32_t TakeRead() {
    const uint32_t read = chunk_ - given_;
    given_ = chunk_;
    return read;
  }
  // All are the card's, and it begins with the first.
  void Restart() { chunk_ = given_ = taken_ = 0; }

 private:
  Mlx5Strides strides_;
  uint32_t count_ = 0;  // a power of two
  std::unique_ptr<Region> region_;
  VerbsPtr<ibv_mr> registered_;
  uint32_t chunk_ = 0;  // that is being read
  uint32_t taken_ = 0;  // its strides that were
  uint32_t given_ = 0;  // chunks that were given back
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_CHUNKS_INTERNAL_H_
