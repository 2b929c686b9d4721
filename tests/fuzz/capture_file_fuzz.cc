// SPDX-License-Identifier: Apache-2.0
// Reads the input as a capture file; what was read must survive being written and read again.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "sluice/packet/capture_file.h"

namespace {

using sluice::CaptureRecord;

struct Kept {
  sluice::Nanoseconds timestamp;
  uint32_t original_length;
  std::vector<uint8_t> bytes;
  bool operator==(const Kept&) const = default;
};

void Require(bool holds) {
  if (!holds) std::abort();
}

// A file in memory, with a name.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("capture", MFD_CLOEXEC)) { Require(fd_ >= 0); }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void Fill(const uint8_t* data, size_t size) const {
    Require(write(fd_, data, size) == static_cast<ssize_t>(size));
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  const int fd_;
};

std::vector<Kept> ReadAll(const std::string& path, bool must_end_well) {
  std::vector<Kept> records;
  auto reader = sluice::CaptureReader::Open(path);
  CaptureRecord record;
  absl::StatusOr<bool> more = false;
  if (!reader.ok()) more = reader.status();
  while (reader.ok() && (more = (*reader)->Read(record)).ok() && *more) {
    Require(record.bytes.size() <= record.original_length && record.bytes.size() <= sluice::kMaxCaptureBytes);
    Require(record.interface < (*reader)->interfaces().size());
    records.push_back({record.timestamp, record.original_length, {record.bytes.begin(), record.bytes.end()}});
  }
  Require(more.ok() || (!must_end_well && !more.status().message().empty()));
  return records;
}

void WriteAll(const std::string& path, const std::vector<Kept>& records) {
  auto writer = sluice::CaptureWriter::Create(path, {}).value();
  for (const Kept& kept : records) {
    const CaptureRecord record{
        .timestamp = kept.timestamp, .original_length = kept.original_length, .bytes = kept.bytes};
    Require(writer->Write(record, "again").ok());
  }
  Require(writer->Close().ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile input, copy;
  input.Fill(data, size);
  const std::vector<Kept> records = ReadAll(input.path(), false);
  WriteAll(copy.path(), records);
  Require(ReadAll(copy.path(), true) == records);
  return 0;
}
