// SPDX-License-Identifier: Apache-2.0
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/capture/record_flaw_internal.h"
#include "nic/capture/rx_internal.h"
#include "nic/wire/piece_writer_internal.h"

namespace sluice {
namespace {

// How soon a pool that was dry is asked again: nobody tells when a buffer comes home.
constexpr Nanoseconds kAskPoolAgain = 1'000'000;

// The kernel can wake a sleeper only by its own clock.
UniqueFd TimerFor(const CaptureNicOptions& options) {
  const bool made_up = options.clock != nullptr && options.speed != 0;
  return UniqueFd(made_up ? -1 : timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

}  // namespace

CaptureRxQueue::CaptureRxQueue(const CaptureNicOptions& options, EventBox& events)
    : options_(options),
      clock_(options.clock != nullptr ? *options.clock : Clock::Monotonic()),
      events_(events),
      timer_(TimerFor(options)) {}

absl::Status CaptureRxQueue::Start(const QueueOptions& queues) {
  queues_ = queues;
  fetched_ = false;
  pass_ = 0;
  records_ = 0;
  ended_.store(false, std::memory_order_relaxed);
  if (options_.read_path.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<CaptureReader>> reader = CaptureReader::Open(options_.read_path);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  return absl::OkStatus();
}

void CaptureRxQueue::Stop() { reader_.reset(); }

size_t CaptureRxQueue::Receive(Burst& burst) {
  if (std::exchange(armed_, false)) {
    uint64_t rings = 0;
    if (read(timer_.get(), &rings, sizeof(rings)) > 0) wakeups_.Add();
  }
  dry_ = false;
  if (!Fetch()) return 0;
  const Nanoseconds now = Now();  // after the first Fetch, which starts the pace
  size_t got = 0;
  // Bounded also when every record is flawed.
  for (size_t left = burst.room(); left != 0 && Fetch() && IsDue(now); --left, fetched_ = false) {
    if (const std::optional<DropReason> flaw = FlawOf(record_)) {
      drops_.Add(*flaw);
      continue;
    }
    PacketPtr packet = MakePacket();
    dry_ = packet == nullptr;
    if (dry_) break;  // the record waits
    packets_.Add();
    bytes_.Add(packet->length());
    burst.Push(std::move(packet));
    ++got;
  }
  return got;
}

// Makes record_ the next one of the file, unless it still is.
bool CaptureRxQueue::Fetch() {
  if (fetched_) return true;
  if (reader_ == nullptr || ended()) return false;
  do {
    const absl::StatusOr<bool> more = reader_->Read(record_);
    if (!more.ok()) {
      drops_.Add(DropReason::kMalformed);
      End(NicEvent::Kind::kQueueError, more.status().ToString());
      return false;
    }
    fetched_ = *more;
  } while (!fetched_ && Rewind());
  if (fetched_) Schedule();
  return fetched_;
}

// To the file's beginning for the next pass, if there is one. A file without records would be read for ever.
bool CaptureRxQueue::Rewind() {
  const bool again = records_ != 0 && (options_.loops == 0 || pass_ + 1 < options_.loops);
  if (!again) {
    End(NicEvent::Kind::kLinkDown, absl::StrCat("end of ", options_.read_path));
    return false;
  }
  absl::StatusOr<std::unique_ptr<CaptureReader>> reader = CaptureReader::Open(options_.read_path);
  if (!reader.ok()) {
    End(NicEvent::Kind::kQueueError, reader.status().ToString());
    return false;
  }
  reader_ = *std::move(reader);
  ++pass_;
  records_ = 0;
  return true;
}

void CaptureRxQueue::End(NicEvent::Kind kind, const std::string& why) {
  ended_.store(true, std::memory_order_relaxed);
  if (kind == NicEvent::Kind::kQueueError) events_.Add({.kind = kind, .queue = id(), .detail = why});
  events_.Add({.kind = NicEvent::Kind::kLinkDown, .queue = {}, .detail = why});
}

// When record_ is due: as long after the first of its pass as in the file, by the speed. A time before the first counts
// as the first's: files are in order of arrival, clocks that made them were set.
void CaptureRxQueue::Schedule() {
  const bool first = records_++ == 0;
  if (options_.speed == 0) return;
  if (first) {
    first_ = record_.timestamp;
    started_ = pass_ == 0 ? clock_.Now() : due_;
  }
  const Nanoseconds gap = record_.timestamp - std::min(record_.timestamp, first_);
  due_ = started_ + static_cast<Nanoseconds>(static_cast<double>(gap) / options_.speed);
}

PacketPtr CaptureRxQueue::MakePacket() const {
  PieceWriter writer(*queues_.pool, queues_.owner);
  if (!writer.Write(record_.bytes.data(), record_.bytes.size())) return nullptr;
  PacketPtr packet = writer.Finish();
  packet->ingress_port = queues_.port;
  if (record_.timestamp != 0) packet->set_timestamp(record_.timestamp);
  return packet;
}

bool CaptureRxQueue::Arm() {
  if (!Fetch()) return true;  // nothing comes any more
  const Nanoseconds now = Now();
  if (!sleeps() || (IsDue(now) && !dry_)) return false;
  armed_ = true;
  const Nanoseconds wait = IsDue(now) ? kAskPoolAgain : due_ - now;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(wait / 1'000'000'000);
  when.it_value.tv_nsec = static_cast<long>(wait % 1'000'000'000);
  return timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
}

QueueStats CaptureRxQueue::stats() const {
  return {.packets = packets_.value(),
          .bytes = bytes_.value(),
          .wakeups = wakeups_.value(),
          .drops = drops_.Read()};
}

}  // namespace sluice
