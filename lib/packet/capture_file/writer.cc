// SPDX-License-Identifier: Apache-2.0
// Writes in the byte order of this machine, which readers tell by the first number of the file.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "packet/capture_file/decoder_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/capture_file.h"

namespace sluice {
namespace {

using Pieces = std::vector<absl::Span<const uint8_t>>;

constexpr size_t kMaxOption = std::numeric_limits<uint16_t>::max();
constexpr uint8_t kNanosecondUnit = 9;  // 10^-9 s, as if_tsresol

// The numbers and short texts of a header or block, put together before they are written.
class Fields {
 public:
  template <typename T>
  Fields& Add(T value) {
    return AddBytes(&value, sizeof(value));
  }
  Fields& AddBytes(const void* data, size_t bytes) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + bytes);
    return *this;
  }
  Fields& Pad() {
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
    return *this;
  }
  Fields& AddOption(uint16_t code, absl::string_view value) {
    return Add(code).Add(static_cast<uint16_t>(value.size())).AddBytes(value.data(), value.size()).Pad();
  }
  Fields& EndOptions() { return Add(kOptionEnd).Add(uint16_t{0}); }

  const std::vector<uint8_t>& bytes() const { return bytes_; }
  uint32_t size() const { return static_cast<uint32_t>(bytes_.size()); }

 private:
  std::vector<uint8_t> bytes_;
};

// A block around `body`.
Fields BlockOf(uint32_t type, const Fields& body) {
  const uint32_t length = body.size() + 12;
  Fields block;
  block.Add(type).Add(length).AddBytes(body.bytes().data(), body.size()).Add(length);
  return block;
}

Fields PcapHeader(const CaptureWriterOptions& options) {
  const CaptureInterface& interface = options.interfaces[0];
  const bool nanoseconds = options.format == CaptureFormat::kPcapNanoseconds;
  Fields header;
  header.Add(nanoseconds ? kPcapNanoMagic : kPcapMicroMagic).Add(kPcapMajor).Add(kPcapMinor);
  header.Add(uint64_t{0});  // reserved; once time zone and accuracy
  header.Add(interface.snap_length == 0 ? kMaxCaptureBytes : interface.snap_length);
  header.Add(uint32_t{interface.link_type});
  return header;
}

Fields SectionHeader(const CaptureWriterOptions& options) {
  constexpr uint64_t kLengthNotTold = ~uint64_t{0};
  Fields body;
  body.Add(kByteOrderMagic).Add(kPcapngMajor).Add(uint16_t{0}).Add(kLengthNotTold);
  if (!options.application.empty()) body.AddOption(kOptionApplication, options.application).EndOptions();
  return BlockOf(kSectionHeaderBlock, body);
}

Fields InterfaceDescription(const CaptureInterface& interface) {
  Fields body;
  body.Add(interface.link_type).Add(uint16_t{0}).Add(interface.snap_length);
  if (!interface.name.empty()) body.AddOption(kOptionName, interface.name);
  body.AddOption(kOptionTimeUnit, absl::string_view(reinterpret_cast<const char*>(&kNanosecondUnit), 1));
  body.EndOptions();
  return BlockOf(kInterfaceBlock, body);
}

absl::Status Refuse(const std::string& path, absl::StatusCode code, std::string what, std::string remedy) {
  return ErrorStatus(code, {.device = absl::StrCat("capture ", path),
                            .stage = "write",
                            .what = std::move(what),
                            .remedy = std::move(remedy)});
}

absl::Status CheckOptions(const std::string& path, const CaptureWriterOptions& options) {
  const auto refuse = [&](std::string what, std::string remedy) {
    return Refuse(path, absl::StatusCode::kInvalidArgument, std::move(what), std::move(remedy));
  };
  if (options.interfaces.empty()) return refuse("no interface", "describe at least one");
  if (options.format != CaptureFormat::kPcapng && options.interfaces.size() != 1) {
    return refuse(absl::StrCat(options.interfaces.size(), " interfaces in a pcap file"),
                  "use one, or CaptureFormat::kPcapng");
  }
  for (const CaptureInterface& interface : options.interfaces) {
    if (interface.name.size() > kMaxOption || options.application.size() > kMaxOption) {
      return refuse("a name of more than 65535 bytes", "use a shorter one");
    }
  }
  return absl::OkStatus();
}

size_t TotalSize(const Pieces& pieces) {
  size_t total = 0;
  for (const auto piece : pieces) total += piece.size();
  return total;
}

}  // namespace

struct CaptureWriter::State {
  std::string path;
  CaptureWriterOptions options;
  FilePtr file;
  Pieces pieces;  // of the packet being written; kept for its memory

  absl::Status SystemError(const std::string& stage) const {
    return ErrorStatus({.device = absl::StrCat("capture ", path),
                        .stage = stage,
                        .error_number = errno,
                        .remedy = "name a file on a disk with room that this user may write"});
  }

  absl::Status Put(const void* data, size_t bytes) {
    if (bytes == 0 || std::fwrite(data, 1, bytes, file.get()) == bytes) return absl::OkStatus();
    return SystemError("write");
  }
  absl::Status Put(const Fields& fields) { return Put(fields.bytes().data(), fields.size()); }

  absl::Status PutFrame(const Pieces& frame, uint32_t bytes) {
    absl::Status status;
    for (size_t i = 0; i < frame.size() && bytes != 0 && status.ok(); ++i) {
      const uint32_t here = std::min(bytes, static_cast<uint32_t>(frame[i].size()));
      status = Put(frame[i].data(), here);
      bytes -= here;
    }
    return status;
  }

  absl::Status PutHeader();
  absl::Status PutPcapRecord(const CaptureRecord& record, uint32_t kept, const Pieces& frame);
  absl::Status PutEnhancedBlock(const CaptureRecord& record, uint32_t kept, const Pieces& frame,
                                absl::string_view comment);
  absl::Status CheckRecord(const CaptureRecord& record, absl::string_view comment) const;
  absl::Status PutRecord(const CaptureRecord& record, const Pieces& frame, absl::string_view comment);
};

absl::Status CaptureWriter::State::PutHeader() {
  if (options.format != CaptureFormat::kPcapng) return Put(PcapHeader(options));
  absl::Status status = Put(SectionHeader(options));
  for (size_t i = 0; i < options.interfaces.size() && status.ok(); ++i) {
    status = Put(InterfaceDescription(options.interfaces[i]));
  }
  return status;
}

absl::Status CaptureWriter::State::PutPcapRecord(const CaptureRecord& record, uint32_t kept,
                                                 const Pieces& frame) {
  const Nanoseconds seconds = record.timestamp / kSecond;
  if (seconds > std::numeric_limits<uint32_t>::max()) {
    return Refuse(path, absl::StatusCode::kOutOfRange, "a time after the year 2106 in a pcap file",
                  "use CaptureFormat::kPcapng");
  }
  const Nanoseconds fraction = record.timestamp % kSecond;
  const bool nanoseconds = options.format == CaptureFormat::kPcapNanoseconds;
  Fields header;
  header.Add(static_cast<uint32_t>(seconds));
  header.Add(static_cast<uint32_t>(nanoseconds ? fraction : fraction / 1000));
  header.Add(kept).Add(record.original_length);
  const absl::Status status = Put(header);
  return status.ok() ? PutFrame(frame, kept) : status;
}

absl::Status CaptureWriter::State::PutEnhancedBlock(const CaptureRecord& record, uint32_t kept,
                                                    const Pieces& frame, absl::string_view comment) {
  constexpr uint32_t kFixed = 32;  // type, both lengths, and the five fields before the frame
  const uint32_t padding = (4 - kept % 4) % 4;
  Fields tail;
  tail.AddBytes("\0\0\0", padding);
  Fields options_of_record;
  if (!comment.empty()) options_of_record.AddOption(kOptionComment, comment).EndOptions();
  const uint32_t length = kFixed + kept + padding + options_of_record.size();
  tail.AddBytes(options_of_record.bytes().data(), options_of_record.size()).Add(length);

  Fields head;
  head.Add(kEnhancedPacketBlock).Add(length).Add(record.interface);
  head.Add(static_cast<uint32_t>(record.timestamp >> 32)).Add(static_cast<uint32_t>(record.timestamp));
  head.Add(kept).Add(record.original_length);
  absl::Status status = Put(head);
  if (status.ok()) status = PutFrame(frame, kept);
  return status.ok() ? Put(tail) : status;
}

absl::Status CaptureWriter::State::CheckRecord(const CaptureRecord& record, absl::string_view comment) const {
  const auto refuse = [&](std::string what, std::string remedy) {
    return Refuse(path, absl::StatusCode::kInvalidArgument, std::move(what), std::move(remedy));
  };
  if (record.interface >= options.interfaces.size()) {
    return refuse(absl::StrCat("interface ", record.interface), "describe it in CaptureWriterOptions");
  }
  if (!comment.empty() && options.format != CaptureFormat::kPcapng) {
    return refuse("a comment in a pcap file", "use CaptureFormat::kPcapng");
  }
  if (comment.size() > kMaxOption) return refuse("a comment of more than 65535 bytes", "write a shorter one");
  return absl::OkStatus();
}

absl::Status CaptureWriter::State::PutRecord(const CaptureRecord& record, const Pieces& frame,
                                             absl::string_view comment) {
  const absl::Status status = CheckRecord(record, comment);
  if (!status.ok()) return status;
  const uint32_t snap = options.interfaces[record.interface].snap_length;
  const size_t size = TotalSize(frame);
  const size_t kept = snap == 0 ? size : std::min<size_t>(size, snap);
  if (kept > kMaxCaptureBytes) {
    return Refuse(path, absl::StatusCode::kOutOfRange,
                  absl::StrCat("a record of ", kept, " bytes; ", kMaxCaptureBytes, " is the most"),
                  "set CaptureInterface::snap_length");
  }
  CaptureRecord whole = record;
  whole.original_length = static_cast<uint32_t>(std::max<size_t>(record.original_length, TotalSize(frame)));
  const auto bytes = static_cast<uint32_t>(kept);
  return options.format == CaptureFormat::kPcapng ? PutEnhancedBlock(whole, bytes, frame, comment)
                                                  : PutPcapRecord(whole, bytes, frame);
}

absl::StatusOr<std::unique_ptr<CaptureWriter>> CaptureWriter::Create(const std::string& path,
                                                                     const CaptureWriterOptions& options) {
  absl::Status status = CheckOptions(path, options);
  if (!status.ok()) return status;
  auto state = std::make_unique<State>();
  state->path = path;
  state->options = options;
  state->file.reset(std::fopen(path.c_str(), "wbe"));
  if (state->file == nullptr) return state->SystemError("open");
  status = state->PutHeader();
  if (!status.ok()) return status;
  return std::unique_ptr<CaptureWriter>(new CaptureWriter(std::move(state)));
}

CaptureWriter::CaptureWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

CaptureWriter::~CaptureWriter() = default;

absl::Status CaptureWriter::Write(const CaptureRecord& record, absl::string_view comment) {
  state_->pieces.assign(1, record.bytes);
  return state_->PutRecord(record, state_->pieces, comment);
}

absl::Status CaptureWriter::Write(const Packet& packet, Nanoseconds timestamp, uint32_t interface,
                                  absl::string_view comment) {
  state_->pieces.clear();
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    state_->pieces.emplace_back(piece->data(), piece->head_length());
  }
  const CaptureRecord record{.timestamp = timestamp,
                             .original_length = packet.length(),
                             .interface = interface,
                             .link_type = kLinkEthernet,
                             .bytes = {}};
  return state_->PutRecord(record, state_->pieces, comment);
}

absl::Status CaptureWriter::Flush() {
  return std::fflush(state_->file.get()) == 0 ? absl::OkStatus() : state_->SystemError("write");
}

absl::Status CaptureWriter::Close() {
  return std::fclose(state_->file.release()) == 0 ? absl::OkStatus() : state_->SystemError("close");
}

}  // namespace sluice
