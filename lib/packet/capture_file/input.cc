// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "packet/capture_file/input_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

template <typename T>
T Load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

absl::Status SystemError(const std::string& path, const std::string& stage, int error) {
  return ErrorStatus({.device = absl::StrCat("capture ", path),
                      .stage = stage,
                      .error_number = error,
                      .remedy = "name a capture file that exists and that this user may read"});
}

}  // namespace

absl::StatusOr<CaptureInput> CaptureInput::Open(const std::string& path) {
  FilePtr file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) return SystemError(path, "open", errno);
  return CaptureInput(path, std::move(file));
}

absl::StatusOr<size_t> CaptureInput::ReadUpTo(uint8_t* to, size_t bytes) {
  const size_t got = std::fread(to, 1, bytes, file_.get());
  offset_ += got;
  if (got < bytes && std::ferror(file_.get()) != 0) return SystemError(path_, "read", errno);
  return got;
}

absl::StatusOr<bool> CaptureInput::ReadOrEnd(uint8_t* to, size_t bytes) {
  const absl::StatusOr<size_t> got = ReadUpTo(to, bytes);
  if (!got.ok()) return got.status();
  if (*got == 0 && bytes != 0) return false;
  if (*got < bytes) return CutOff(bytes - *got);
  return true;
}

absl::Status CaptureInput::Read(uint8_t* to, size_t bytes) {
  const absl::StatusOr<size_t> got = ReadUpTo(to, bytes);
  if (!got.ok()) return got.status();
  return *got < bytes ? CutOff(bytes - *got) : absl::OkStatus();
}

absl::Status CaptureInput::Skip(uint64_t bytes) {
  std::array<uint8_t, 4096> unused;
  while (bytes != 0) {
    const size_t step = static_cast<size_t>(std::min<uint64_t>(bytes, unused.size()));
    const absl::Status status = Read(unused.data(), step);
    if (!status.ok()) return status;
    bytes -= step;
  }
  return absl::OkStatus();
}

absl::Status CaptureInput::CutOff(size_t missing) const {
  return ErrorStatus(absl::StatusCode::kDataLoss,
                     {.device = absl::StrCat("capture ", path_),
                      .stage = "read",
                      .what = absl::StrCat("offset ", offset_, ": the file ends ", missing,
                                           " bytes short of what it announced"),
                      .remedy = "copy the file again whole, or use the records before this one"});
}

absl::Status CaptureInput::NotACapture(uint64_t offset, const std::string& what) const {
  return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = absl::StrCat("capture ", path_),
                                                          .stage = "open",
                                                          .what = absl::StrCat("offset ", offset, ": ", what),
                                                          .remedy = "give a pcap or pcapng file"});
}

absl::Status CaptureInput::Corrupt(uint64_t offset, const std::string& what) const {
  return ErrorStatus(absl::StatusCode::kDataLoss,
                     {.device = absl::StrCat("capture ", path_),
                      .stage = "read",
                      .what = absl::StrCat("offset ", offset, ": ", what),
                      .remedy = "the file is damaged: capture again, or use the records before this one"});
}

uint16_t FileOrder::U16(const uint8_t* at) const {
  const auto value = Load<uint16_t>(at);
  return swapped ? __builtin_bswap16(value) : value;
}

uint32_t FileOrder::U32(const uint8_t* at) const {
  const auto value = Load<uint32_t>(at);
  return swapped ? __builtin_bswap32(value) : value;
}

uint64_t FileOrder::U64(const uint8_t* at) const {
  const auto value = Load<uint64_t>(at);
  return swapped ? __builtin_bswap64(value) : value;
}

}  // namespace sluice
