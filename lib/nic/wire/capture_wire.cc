// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/capture_wire.h"

#include <atomic>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nic/capture/record_flaw_internal.h"
#include "nic/wire/piece_writer_internal.h"
#include "sluice/base/counters.h"

namespace sluice {
namespace {

class CaptureWire final : public Wire {
 public:
  explicit CaptureWire(const CaptureWireOptions& options) : options_(options) {
    traits_.name = absl::StrCat("capture ", options.read_path, " ", options.write_path);
    traits_.carries_fragments = true;
    traits_.sleeps = false;
  }
  ~CaptureWire() override { Close(); }

  const WireTraits& traits() const override { return traits_; }
  absl::Status Open(const WireOptions& options) override;
  void Close() override;

  size_t Transmit(uint16_t lane, Burst& burst) override;
  size_t Reclaim(uint16_t lane) override;
  size_t Receive(Burst& burst) override;

  bool Arm() override { return false; }
  int fd() const override { return -1; }
  LinkState link() const override {
    return open_.load(std::memory_order_relaxed) ? LinkState::kUp : LinkState::kDown;
  }
  DropCounts drops() const override {
    DropCounts sum = received_drops_.Read();
    sum += sent_drops_.Read();
    return sum;
  }

 private:
  bool Fetch();
  void WriteOne(const Packet& packet, Nanoseconds now);

  const CaptureWireOptions options_;
  WireTraits traits_;
  PacketPool* pool_ = nullptr;
  std::atomic<bool> open_{false};

  std::unique_ptr<CaptureReader> reader_;  // while there is more
  CaptureRecord record_;
  bool fetched_ = false;  // record_ has not arrived yet
  DropCounters received_drops_;

  std::unique_ptr<CaptureWriter> writer_;
  uint64_t unflushed_ = 0;
  bool broken_ = false;
  DropCounters sent_drops_;
};

absl::Status CaptureWire::Open(const WireOptions& options) {
  if (!options_.read_path.empty()) {
    absl::StatusOr<std::unique_ptr<CaptureReader>> reader = CaptureReader::Open(options_.read_path);
    if (!reader.ok()) return reader.status();
    reader_ = *std::move(reader);
  }
  if (!options_.write_path.empty() && writer_ == nullptr) {
    absl::StatusOr<std::unique_ptr<CaptureWriter>> writer =
        CaptureWriter::Create(options_.write_path, {.format = options_.write_format});
    if (!writer.ok()) return writer.status();
    writer_ = *std::move(writer);
  }
  pool_ = options.pool;
  fetched_ = false;
  open_.store(true, std::memory_order_relaxed);
  return absl::OkStatus();
}

void CaptureWire::Close() {
  if (!open_.exchange(false, std::memory_order_relaxed)) return;
  Reclaim(0);
  reader_.reset();
}

// A file has room for all.
size_t CaptureWire::Transmit(uint16_t, Burst& burst) {
  const size_t taken = burst.size();
  const auto now = static_cast<Nanoseconds>(absl::GetCurrentTimeNanos());
  if (writer_ != nullptr) {
    for (const Packet* packet : burst) WriteOne(*packet, now);
  }
  burst.Clear();
  return taken;
}

void CaptureWire::WriteOne(const Packet& packet, Nanoseconds now) {
  broken_ = broken_ || !writer_->Write(packet, now).ok();
  if (broken_) return sent_drops_.Add(DropReason::kDeviceError);
  ++unflushed_;
}

// Which of the buffered records made it to a file that fails nobody can tell.
size_t CaptureWire::Reclaim(uint16_t) {
  const uint64_t buffered = std::exchange(unflushed_, 0);
  if (buffered == 0 || broken_ || writer_->Flush().ok()) return 0;
  broken_ = true;
  sent_drops_.Add(DropReason::kDeviceError, buffered);
  return 0;
}

size_t CaptureWire::Receive(Burst& burst) {
  size_t received = 0;
  // Bounded also when every record is flawed.
  for (size_t left = burst.room(); left > 0 && Fetch(); --left, fetched_ = false) {
    if (const std::optional<DropReason> flaw = FlawOf(record_)) {
      received_drops_.Add(*flaw);
      continue;
    }
    PieceWriter writer(*pool_);
    if (!writer.Write(record_.bytes.data(), record_.bytes.size())) break;  // the record waits
    burst.Push(writer.Finish());
    ++received;
  }
  return received;
}

// Makes record_ the next one of the file, unless it still is.
bool CaptureWire::Fetch() {
  if (fetched_) return true;
  if (reader_ == nullptr) return false;
  const absl::StatusOr<bool> more = reader_->Read(record_);
  fetched_ = more.ok() && *more;
  if (!more.ok()) received_drops_.Add(DropReason::kMalformed);
  if (!fetched_) reader_.reset();
  return fetched_;
}

}  // namespace

std::unique_ptr<Wire> MakeCaptureWire(const CaptureWireOptions& options) {
  return std::make_unique<CaptureWire>(options);
}

}  // namespace sluice
