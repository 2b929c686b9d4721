// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "sluice/packet/capture_file.h"
#include "tests/packet/burst_twin.h"
#include "tests/support/test_data.h"

namespace sluice::testing {
namespace {

constexpr size_t kMostHead = 2048;

// The start of each frame, as many as a burst holds at a time.
size_t CheckFile(const std::string& file, BurstTwin& twin) {
  const auto reader = CaptureReader::Open(file);
  if (!reader.ok()) return 0;
  size_t frames = 0;
  std::vector<Bytes> heads;
  const auto check = [&] {
    CHECK(twin.Differences(heads) == "");
    frames += heads.size();
    heads.clear();
  };
  for (CaptureRecord record; (*reader)->Read(record).value_or(false);) {
    const size_t kept = std::min(record.bytes.size(), kMostHead);
    heads.emplace_back(record.bytes.begin(), record.bytes.begin() + static_cast<std::ptrdiff_t>(kept));
    if (heads.size() == Burst::kCapacity) check();
  }
  check();
  return frames;
}

TEST_CASE("real captures are parsed in bursts as they are frame by frame") {
  BurstTwin twin;
  size_t frames = 0;
  for (const char* const folder : {"attack", "gso", "malformed", "overlay", "tcp"}) {
    for (const std::string& file : TestDataFiles(std::string("pcap/") + folder)) {
      INFO(file);
      frames += CheckFile(file, twin);
    }
  }
  CHECK(frames > 2000);
}

}  // namespace
}  // namespace sluice::testing
