// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "absl/time/clock.h"
#include "nic/capture/record_flaw_internal.h"
#include "nic/capture/tx_internal.h"

namespace sluice {
void CaptureTxQueue::Start(const QueueOptions& queues) {
  egress_.emplace(
      FinisherOptions{.max_frame = kLongestCaptured, .carries_fragments = true, .pool = queues.pool});
}

// A file has room for all: nothing ever waits.
size_t CaptureTxQueue::Send(Burst& burst) {
  now_ = static_cast<Nanoseconds>(absl::GetCurrentTimeNanos());  // one reading a burst
  return egress_->Send(burst, *this);
}

std::optional<DropReason> CaptureTxQueue::Put(Burst& frames) {
  while (!frames.empty()) {
    const std::optional<DropReason> reason = Write(frames[0]);
    if (reason.has_value()) return reason;
    frames.PopFront();
  }
  return std::nullopt;
}

std::optional<DropReason> CaptureTxQueue::Write(const Packet& frame) {
  if (writer_ == nullptr) return DropReason::kNoDestination;
  if (broken_) return DropReason::kDeviceError;
  const bool keep = options_.keep_times && frame.timestamp() != 0;
  absl::Status written = writer_->Write(frame, keep ? frame.timestamp() : now_);
  // A time that the format cannot tell is no reason to lose the frame.
  if (keep && written.code() == absl::StatusCode::kOutOfRange) written = writer_->Write(frame, now_);
  if (written.ok()) {
    ++unflushed_;
    return std::nullopt;
  }
  Break(written);
  return DropReason::kDeviceError;
}

void CaptureTxQueue::CountSent(uint64_t packets, uint64_t bytes) {
  packets_.Add(packets);
  bytes_.Add(bytes);
}

void CaptureTxQueue::Flush() {
  if (unflushed_ == 0 || broken_) return;
  if (const absl::Status flushed = writer_->Flush(); !flushed.ok()) return Break(flushed);
  unflushed_ = 0;
}

// Which of the buffered records made it to the file nobody can tell.
void CaptureTxQueue::Break(const absl::Status& why) {
  broken_ = true;
  drops_.Add(DropReason::kDeviceError, std::exchange(unflushed_, 0));
  events_.Add({.kind = NicEvent::Kind::kQueueError, .queue = id(), .detail = why.ToString()});
}

QueueStats CaptureTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice
