// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/capture_nic.h"

#include <atomic>
#include <cmath>
#include <utility>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "nic/capture/event_box_internal.h"
#include "nic/capture/record_flaw_internal.h"
#include "nic/capture/rx_internal.h"
#include "nic/capture/tx_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint32_t kLargestRing = 32768;  // accepted; a file has no ring

absl::Status Refuse(absl::StatusCode code, const std::string& device, std::string what, std::string remedy,
                    std::string capability = {}) {
  return ErrorStatus(code, {.device = device,
                            .stage = "check options",
                            .capability = std::move(capability),
                            .what = std::move(what),
                            .remedy = std::move(remedy)});
}

class CaptureNic final : public Nic {
 public:
  CaptureNic(const CaptureNicOptions& options, std::unique_ptr<CaptureWriter> writer)
      : options_(options),
        name_(absl::StrCat("capture ", options.name)),
        rx_(options, events_),
        tx_(options, events_, std::move(writer)) {
    able_.max_ring_size = kLargestRing;
    able_.max_frame = kLongestCaptured;
    able_.vlan_insert = able_.send_l3_checksum = able_.send_l4_checksum = able_.segmentation = true;
    able_.fragments = able_.timestamps = true;
    able_.sleeps = rx_.sleeps();
  }
  ~CaptureNic() override { (void)CaptureNic::Stop(); }

  bool ready() const { return events_.valid(); }

  const std::string& name() const override { return name_; }
  MacAddress mac() const override { return options_.mac; }
  NodeId node() const override { return kUnknownNode; }
  const Capabilities& capabilities() const override { return able_; }

  absl::Status Start(const QueueOptions& queues) override;
  absl::Status Stop() override;
  bool running() const override { return running_.load(std::memory_order_relaxed); }

  RxQueue& rx(QueueId) override { return rx_; }
  TxQueue& tx(QueueId) override { return tx_; }
  uint16_t rx_count() const override { return running() ? 1 : 0; }
  uint16_t tx_count() const override { return running() ? 1 : 0; }

  absl::StatusOr<RuleId> InstallRule(const Rule&) override { return Lacks("rules"); }
  absl::Status UpdateRule(RuleId, const RuleActions&) override { return Lacks("rules"); }
  absl::Status RemoveRule(RuleId) override { return Lacks("rules"); }
  absl::StatusOr<RuleStats> QueryRule(RuleId) const override { return Lacks("rules"); }
  absl::Status SetRss(const RssConfig&) override { return Lacks("rss"); }

  LinkState link() const override { return running() && !rx_.ended() ? LinkState::kUp : LinkState::kDown; }
  std::vector<ModeInForce> modes() const override { return {}; }
  DropCounts drops() const override { return rx_.stats().drops += tx_.stats().drops; }

  int event_fd() const override { return running() ? events_.fd() : -1; }
  std::vector<NicEvent> TakeEvents() override { return events_.Take(); }

 private:
  absl::Status Lacks(const std::string& capability) const {
    return Refuse(absl::StatusCode::kUnimplemented, name_, "a capture file has one queue",
                  "steer in software behind it", capability);
  }
  absl::Status CheckQueues(const QueueOptions& queues) const;

  const CaptureNicOptions options_;
  const std::string name_;
  Capabilities able_;
  EventBox events_;
  CaptureRxQueue rx_;
  CaptureTxQueue tx_;
  std::atomic<bool> running_{false};
};

absl::Status CaptureNic::CheckQueues(const QueueOptions& queues) const {
  const auto refuse = [&](std::string what, std::string remedy) {
    return Refuse(absl::StatusCode::kInvalidArgument, name_, std::move(what), std::move(remedy));
  };
  const auto good_ring = [](uint32_t ring) { return ring <= kLargestRing && absl::has_single_bit(ring); };
  if (queues.rx_queues != 1 || queues.tx_queues != 1)
    return refuse(absl::StrCat(queues.rx_queues, " receive and ", queues.tx_queues, " transmit queues"),
                  "use one of each");
  if (!good_ring(queues.rx_ring) || !good_ring(queues.tx_ring))
    return refuse(absl::StrCat("rings of ", queues.rx_ring, " and ", queues.tx_ring),
                  absl::StrCat("use powers of two up to ", kLargestRing));
  if (queues.pool == nullptr) return refuse("no pool", "name the pool that frames are received into");
  return absl::OkStatus();
}

absl::Status CaptureNic::Start(const QueueOptions& queues) {
  if (running())
    return Refuse(absl::StatusCode::kFailedPrecondition, name_, "running already", "stop it first");
  if (absl::Status checked = CheckQueues(queues); !checked.ok()) return checked;
  if (absl::Status started = rx_.Start(queues); !started.ok()) return started;
  tx_.Start(queues);
  running_.store(true, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status CaptureNic::Stop() {
  if (!running_.exchange(false)) return absl::OkStatus();
  rx_.Stop();
  tx_.Stop();
  return absl::OkStatus();
}

absl::Status CheckOptions(const std::string& device, const CaptureNicOptions& options) {
  const auto refuse = [&](std::string what, std::string remedy) {
    return Refuse(absl::StatusCode::kInvalidArgument, device, std::move(what), std::move(remedy));
  };
  if (options.read_path.empty() && options.write_path.empty())
    return refuse("neither a file to read nor one to write", "set read_path or write_path");
  if (options.read_path == options.write_path) return refuse("one file to read and to write", "use two");
  if (!std::isfinite(options.speed) || options.speed < 0)
    return refuse(absl::StrCat("speed is ", options.speed), "use 0 for flat out, 1 for the file's own pace");
  return absl::OkStatus();
}

// A file that cannot be read is known when the Nic is opened, not when it is started. A pipe is not looked into, for
// what is read of it is gone.
absl::Status CheckReadable(const std::string& device, const CaptureNicOptions& options) {
  if (options.read_path.empty()) return absl::OkStatus();
  const absl::StatusOr<std::unique_ptr<CaptureReader>> reader = CaptureReader::Open(options.read_path);
  if (!reader.ok()) return reader.status();
  const std::vector<CaptureInterface>& interfaces = (*reader)->interfaces();
  if (interfaces.empty() || interfaces[0].link_type == kLinkEthernet) return absl::OkStatus();
  return Refuse(
      absl::StatusCode::kInvalidArgument, device,
      absl::StrCat(options.read_path, " has link type ", interfaces[0].link_type, ", not Ethernet (1)"),
      "capture on an Ethernet interface, or convert it");
}

// With its header on the disk: a capture without frames, but a capture.
absl::StatusOr<std::unique_ptr<CaptureWriter>> OpenWriter(const CaptureNicOptions& options) {
  if (options.write_path.empty()) return std::unique_ptr<CaptureWriter>();
  CaptureWriterOptions describe;
  describe.format = options.write_format;
  describe.interfaces[0].name = options.name;
  describe.application = "sluice";
  auto writer = CaptureWriter::Create(options.write_path, describe);
  if (!writer.ok()) return writer.status();
  if (absl::Status flushed = (*writer)->Flush(); !flushed.ok()) return flushed;
  return writer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Nic>> OpenCaptureNic(const CaptureNicOptions& options) {
  const std::string device = absl::StrCat("capture ", options.name);
  if (absl::Status checked = CheckOptions(device, options); !checked.ok()) return checked;
  if (absl::Status readable = CheckReadable(device, options); !readable.ok()) return readable;
  absl::StatusOr<std::unique_ptr<CaptureWriter>> writer = OpenWriter(options);
  if (!writer.ok()) return writer.status();
  auto nic = std::make_unique<CaptureNic>(options, *std::move(writer));
  if (nic->ready()) return nic;
  return ErrorStatus({.device = device,
                      .stage = "open descriptors",
                      .error_number = errno,
                      .remedy = "raise the limit of open files"});
}

}  // namespace sluice
