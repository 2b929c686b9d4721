// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "nic/model/merger_internal.h"

namespace sluice {
namespace {

// Of arrivals, one that carries a request was coalesced by somebody else, and came as one frame.
bool JoinedHere(const Packet& packet) { return packet.coalesced_segments() != 0 && !packet.offload.segment; }

size_t FramesIn(const Burst& burst) {
  size_t frames = 0;
  for (const Packet* packet : burst) frames += JoinedHere(*packet) ? packet->coalesced_segments() : 1u;
  return frames;
}

// No checksum is asked for: they are right, and a UDP checksum that is absent stays so.
void AskForSegments(Packet& packet) {
  if (!JoinedHere(packet)) return;
  packet.offload = {.segment = true, .fixed_ids = packet.coalesced_ids(), .mss = packet.coalesced_size()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Merger>> Merger::Create(const CoalesceOptions& options, const Clock& clock) {
  absl::StatusOr<std::unique_ptr<Coalescer>> coalescer = Coalescer::Create(options);
  if (!coalescer.ok()) return coalescer.status();
  return std::unique_ptr<Merger>(new Merger(*std::move(coalescer), clock));
}

void Merger::Join(bool dry) {
  const Nanoseconds now = clock_.Now();
  coalescer_->Add(arrivals_, now, ready_);
  if (dry && arrivals_.empty()) {
    coalescer_->FlushAll(ready_);
  } else {
    coalescer_->Flush(now, ready_);
  }
}

size_t Merger::Release(Burst& burst) {
  const size_t released = std::min(ready_.size(), burst.room());
  for (size_t i = 0; i < released; ++i) AskForSegments(ready_[i]);
  ready_.MoveFront(released, burst);
  return released;
}

bool Merger::holds() const { return ready() || !arrivals_.empty() || coalescer_->waiting() != 0; }

size_t Merger::Clear() {
  size_t frames = arrivals_.size();
  arrivals_.Clear();
  do {
    frames += FramesIn(ready_);
    ready_.Clear();
  } while (coalescer_->FlushAll(ready_) != 0);
  return frames;
}

}  // namespace sluice
