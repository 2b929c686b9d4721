// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "absl/time/clock.h"
#include "nic/capture/tx_internal.h"

namespace sluice {
namespace {

constexpr uint32_t kLongest = 65535;

}  // namespace

void CaptureTxQueue::Start(const QueueOptions& queues) {
  finisher_.emplace(FinisherOptions{.max_frame = kLongest, .carries_fragments = true, .pool = queues.pool});
}

size_t CaptureTxQueue::Send(Burst& burst) {
  const size_t offered = burst.size();
  const auto now = static_cast<Nanoseconds>(absl::GetCurrentTimeNanos());  // one reading a burst
  while (!burst.empty()) {
    PacketPtr packet = burst.PopFront();
    if (const std::optional<DropReason> reason = Write(packet, now)) {
      drops_.Add(*reason);
    } else {
      packets_.Add();
      bytes_.Add(packet->length());
    }
  }
  return offered;
}

std::optional<DropReason> CaptureTxQueue::Write(PacketPtr& packet, Nanoseconds now) {
  if (writer_ == nullptr) return DropReason::kNoDestination;
  if (broken_) return DropReason::kDeviceError;
  if (const std::optional<DropReason> reason = finisher_->Finish(packet)) return reason;
  const bool keep = options_.keep_times && packet->timestamp() != 0;
  const absl::Status written = writer_->Write(*packet, keep ? packet->timestamp() : now);
  if (written.ok()) {
    ++unflushed_;
    return std::nullopt;
  }
  if (written.code() == absl::StatusCode::kOutOfRange) return DropReason::kTooLong;  // this one only
  Break(written);
  return DropReason::kDeviceError;
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
