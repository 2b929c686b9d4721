// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_SIMPLE_COALESCER_H_
#define SLUICE_TESTS_SUPPORT_SIMPLE_COALESCER_H_

// The twin of Coalescer, and the copying cutter that it is judged by: frames are vectors of bytes, every checksum is added up
// anew, and a segment joins when, and because, cutting the whole gives the segments back.

#include <string>
#include <utility>
#include <vector>

#include "sluice/packet/coalesce.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// The headers of the first with everybody's payload, lengths and checksums right.
Bytes JoinFrames(const std::vector<Bytes>& frames);

// Frames of `size` bytes of payload, as a segmenter makes them; the frame is TCP or UDP, plain or in VXLAN or Geneve.
std::vector<Bytes> CutFrame(const Bytes& frame, size_t size, FixedIds ids = {});

// What comes out, from either: a frame, how many segments it has (0 = it is as it came), of what size, and whose ids.
struct Coalesced {
  Bytes bytes;
  uint16_t segments = 0;
  uint16_t size = 0;
  FixedIds ids{};

  bool operator==(const Coalesced&) const = default;
  // The frames that went in.
  std::vector<Bytes> Undone() const {
    return segments == 0 ? std::vector<Bytes>{bytes} : CutFrame(bytes, size, ids);
  }
};

class SimpleCoalescer {
 public:
  explicit SimpleCoalescer(const CoalesceOptions& options) : options_(options) {}

  void Add(const Bytes& frame, Nanoseconds now);
  void Flush(Nanoseconds now);
  void FlushAll();

  std::vector<Coalesced> TakeOutput() { return std::exchange(output_, {}); }

 private:
  struct Unit {
    std::string flow;
    std::vector<Bytes> frames;
    Nanoseconds since;
  };

  bool Complete(const Unit& unit) const;
  void Release(size_t unit);

  const CoalesceOptions options_;
  std::vector<Unit> units_;  // oldest first
  std::vector<Coalesced> output_;
};

// Drives a Coalescer, and takes back what comes out. `pool` outlives it.
class CoalescerRig {
 public:
  CoalescerRig(PacketPool& pool, const CoalesceOptions& options);

  Coalescer& operator*() { return *coalescer_; }
  Coalescer* operator->() { return coalescer_.get(); }

  // In one burst, or several when they are many. Each is parsed; `verdict` is what a device said.
  void Add(const std::vector<Bytes>& frames, Nanoseconds now = 0,
           ChecksumVerdict verdict = ChecksumVerdict::kUnknown);
  void Add(PacketPtr packet, Nanoseconds now = 0);
  void Flush(Nanoseconds now);
  void FlushAll();

  std::vector<Coalesced> TakeOutput() { return std::exchange(output_, {}); }
  // Of joined packets that came out: a checksum, or a verdict, that is not right. Empty when there is none.
  const std::string& complaint() const { return complaint_; }

 private:
  void Give(Burst& in, Nanoseconds now);
  void Collect(Burst& out);

  PacketPool& pool_;
  std::unique_ptr<Coalescer> coalescer_;
  std::vector<Coalesced> output_;
  std::string complaint_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_SIMPLE_COALESCER_H_
