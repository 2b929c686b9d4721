// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "absl/strings/str_cat.h"
#include "packet/capture_file/decoder_internal.h"
#include "sluice/packet/capture_file.h"

namespace sluice {
namespace {

absl::StatusOr<std::unique_ptr<CaptureDecoder>> OpenDecoder(CaptureInput input) {
  std::array<uint8_t, 4> bytes;
  const absl::Status status = input.Read(bytes.data(), bytes.size());
  if (absl::IsDataLoss(status)) {
    return input.NotACapture(0, "fewer than the four bytes that tell the format");
  }
  if (!status.ok()) return status;
  for (const bool swapped : {false, true}) {
    const FileOrder order{swapped};
    const uint32_t magic = order.U32(bytes.data());
    if (magic == kSectionHeaderBlock) return OpenPcapng(std::move(input));
    if (magic == kPcapMicroMagic) return OpenPcap(std::move(input), order, false);
    if (magic == kPcapNanoMagic) return OpenPcap(std::move(input), order, true);
  }
  return input.NotACapture(0, absl::StrCat("starts with ", absl::Hex(FileOrder{}.U32(bytes.data())),
                                           ", the mark of no known capture format"));
}

}  // namespace

struct CaptureReader::State {
  std::unique_ptr<CaptureDecoder> decoder;
  absl::Status error;
};

absl::StatusOr<std::unique_ptr<CaptureReader>> CaptureReader::Open(const std::string& path) {
  absl::StatusOr<CaptureInput> input = CaptureInput::Open(path);
  if (!input.ok()) return input.status();
  absl::StatusOr<std::unique_ptr<CaptureDecoder>> decoder = OpenDecoder(*std::move(input));
  if (!decoder.ok()) return decoder.status();
  auto state = std::make_unique<State>();
  state->decoder = *std::move(decoder);
  return std::unique_ptr<CaptureReader>(new CaptureReader(std::move(state)));
}

CaptureReader::CaptureReader(std::unique_ptr<State> state) : state_(std::move(state)) {}

CaptureReader::~CaptureReader() = default;

absl::StatusOr<bool> CaptureReader::Read(CaptureRecord& record) {
  if (!state_->error.ok()) return state_->error;
  absl::StatusOr<bool> more = state_->decoder->Read(record);
  if (!more.ok()) state_->error = more.status();
  return more;
}

CaptureFormat CaptureReader::format() const { return state_->decoder->format(); }

const std::vector<CaptureInterface>& CaptureReader::interfaces() const {
  return state_->decoder->interfaces();
}

}  // namespace sluice
