// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_CAPTURE_FILE_INPUT_INTERNAL_H_
#define SLUICE_LIB_PACKET_CAPTURE_FILE_INPUT_INTERNAL_H_

// A capture file read forward, which knows its place in errors. Works on pipes: never seeks.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FilePtr = std::unique_ptr<std::FILE, CloseFile>;

class CaptureInput {
 public:
  static absl::StatusOr<CaptureInput> Open(const std::string& path);

  // Fills `to`; false when the file ends right here, kDataLoss when it ends within.
  absl::StatusOr<bool> ReadOrEnd(uint8_t* to, size_t bytes);
  // The same where the file must not end.
  absl::Status Read(uint8_t* to, size_t bytes);
  absl::Status Skip(uint64_t bytes);

  uint64_t offset() const { return offset_; }

  // What is wrong at `offset`, with what to do about it.
  absl::Status NotACapture(uint64_t offset, const std::string& what) const;
  absl::Status Corrupt(uint64_t offset, const std::string& what) const;

 private:
  CaptureInput(std::string path, FilePtr file) : path_(std::move(path)), file_(std::move(file)) {}

  absl::StatusOr<size_t> ReadUpTo(uint8_t* to, size_t bytes);
  absl::Status CutOff(size_t missing) const;

  std::string path_;
  FilePtr file_;
  uint64_t offset_ = 0;
};

// Integers of a file written on a machine of either byte order.
struct FileOrder {
  bool swapped = false;

  uint16_t U16(const uint8_t* at) const;
  uint32_t U32(const uint8_t* at) const;
  uint64_t U64(const uint8_t* at) const;
};

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_CAPTURE_FILE_INPUT_INTERNAL_H_
