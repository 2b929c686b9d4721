// SPDX-License-Identifier: Apache-2.0
// pcap: one header, then records.

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "packet/capture_file/decoder_internal.h"

namespace sluice {
namespace {

class PcapDecoder final : public CaptureDecoder {
 public:
  PcapDecoder(CaptureInput input, FileOrder order, bool nanoseconds, const CaptureInterface& interface)
      : input_(std::move(input)), order_(order), nanoseconds_(nanoseconds) {
    interfaces_.push_back(interface);
  }

  CaptureFormat format() const override {
    return nanoseconds_ ? CaptureFormat::kPcapNanoseconds : CaptureFormat::kPcapMicroseconds;
  }

  absl::StatusOr<bool> Read(CaptureRecord& record) override {
    const uint64_t start = input_.offset();
    std::array<uint8_t, kPcapRecordHeader> header;
    const absl::StatusOr<bool> more = input_.ReadOrEnd(header.data(), header.size());
    if (!more.ok() || !*more) return more;

    const uint32_t captured = order_.U32(&header[8]);
    if (captured > kMaxCaptureBytes) {
      return input_.Corrupt(
          start, absl::StrCat("a record of ", captured, " bytes; ", kMaxCaptureBytes, " is the most"));
    }
    bytes_.resize(captured);
    const absl::Status status = input_.Read(bytes_.data(), bytes_.size());
    if (!status.ok()) return status;
    record = {.timestamp = Timestamp(order_.U32(&header[0]), order_.U32(&header[4])),
              .original_length = std::max(captured, order_.U32(&header[12])),
              .interface = 0,
              .link_type = interfaces_[0].link_type,
              .bytes = bytes_};
    return true;
  }

 private:
  Nanoseconds Timestamp(uint64_t seconds, uint64_t fraction) const {
    return seconds * kSecond + fraction * (nanoseconds_ ? 1 : 1000);
  }

  CaptureInput input_;
  const FileOrder order_;
  const bool nanoseconds_;
  std::vector<uint8_t> bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CaptureDecoder>> OpenPcap(CaptureInput input, FileOrder order,
                                                         bool nanoseconds) {
  std::array<uint8_t, kPcapFileHeader - 4> header;  // without the magic number
  const absl::Status status = input.Read(header.data(), header.size());
  if (!status.ok()) return status;
  const uint16_t major = order.U16(&header[0]);
  if (major != kPcapMajor) return input.NotACapture(4, absl::StrCat("pcap version ", major, "; 2 is known"));
  // The upper bits of the last field tell of a frame check sequence.
  const CaptureInterface interface {
    .name = {}, .link_type = static_cast<uint16_t>(order.U32(&header[16])),
    .snap_length = order.U32(&header[12])
  };
  return std::make_unique<PcapDecoder>(std::move(input), order, nanoseconds, interface);
}

}  // namespace sluice
