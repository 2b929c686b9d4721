// SPDX-License-Identifier: Apache-2.0
// Every capture at hand, hostile ones first of all, through everything here that reads what others wrote.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "sluice/packet/capture_file.h"
#include "tests/support/frames.h"
#include "tests/support/test_data.h"
#include "tests/support/wire_invariants.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr size_t kMostFrames = 2000;  // of one file

struct Record {
  Nanoseconds timestamp;
  uint32_t original_length;
  Bytes bytes;
  bool operator==(const Record&) const = default;
};

struct Capture {
  std::vector<Record> records;
  absl::Status status;
};

Capture ReadCapture(const std::string& path) {
  Capture capture;
  auto reader = CaptureReader::Open(path);
  capture.status = reader.status();
  CaptureRecord record;
  while (capture.status.ok() && capture.records.size() < kMostFrames) {
    const absl::StatusOr<bool> more = (*reader)->Read(record);
    capture.status = more.status();
    if (!more.ok() || !*more) break;
    capture.records.push_back(
        {record.timestamp, record.original_length, Bytes(record.bytes.begin(), record.bytes.end())});
  }
  return capture;
}

std::vector<std::string> AllFiles() {
  std::vector<std::string> files;
  for (const char* folder : {"malformed", "overlay", "gso", "tcp", "attack"}) {
    for (const std::string& file : TestDataFiles(absl::StrCat("pcap/", folder))) files.push_back(file);
  }
  return files;
}

TEST_CASE("no frame of any capture breaks a property of what reads headers, whatever its link type") {
  size_t frames = 0;
  for (const std::string& file : AllFiles()) {
    for (const Record& record : ReadCapture(file).records) {
      const std::string broken = BrokenWireInvariant(record.bytes, record.original_length);
      if (!broken.empty()) FAIL_CHECK(file << ": " << broken);
      ++frames;
    }
  }
  CHECK(frames > 5000);
}

TEST_CASE("every capture is read to its end, or to an error that names the file and the place") {
  size_t whole = 0;
  for (const std::string& file : AllFiles()) {
    const Capture capture = ReadCapture(file);
    INFO(file << ": " << capture.status);
    whole += capture.status.ok();
    if (capture.status.ok()) continue;
    CHECK_THAT(std::string(capture.status.message()), Catch::Contains(file) && Catch::Contains("offset"));
  }
  CHECK(whole > 80);
}

TEST_CASE("every capture that is written anew in another format has the same records") {
  const std::string path =
      absl::StrCat(std::filesystem::temp_directory_path().string(), "/sluice-again-", getpid());
  for (const std::string& file : AllFiles()) {
    const Capture capture = ReadCapture(file);
    auto writer = CaptureWriter::Create(path, {.application = "again"}).value();
    for (const Record& r : capture.records) {
      REQUIRE(writer
                  ->Write(CaptureRecord{
                      .timestamp = r.timestamp, .original_length = r.original_length, .bytes = r.bytes})
                  .ok());
    }
    REQUIRE(writer->Close().ok());
    INFO(file);
    CHECK(ReadCapture(path).records == capture.records);
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sluice
