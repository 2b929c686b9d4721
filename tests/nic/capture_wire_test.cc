// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/capture_wire.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "tests/support/frames.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Range;
using testing::TempFolder;
using testing::WireEnd;

// A capture of frames numbered from `first`.
void WriteNumbered(const std::string& path, uint64_t first, uint64_t count, uint32_t length = 60) {
  WireEnd maker(MakeCaptureWire({.write_path = path}));
  CHECK(maker.Send(first, count, length) == count);
}

std::vector<uint64_t> ReadNumbers(const std::string& path) {
  WireEnd reader(MakeCaptureWire({.read_path = path}));
  std::vector<uint64_t> numbers;
  for (std::vector<uint64_t> more = reader.Receive(); !more.empty(); more = reader.Receive()) {
    numbers.insert(numbers.end(), more.begin(), more.end());
  }
  return numbers;
}

TEST_CASE("each frame of a capture arrives once and in order, and again when the wire is opened again") {
  const TempFolder folder;
  WriteNumbered(folder.file("in"), 5, 200);
  WireEnd end(MakeCaptureWire({.read_path = folder.file("in")}));
  for (int round = 0; round < 2; ++round) {
    std::vector<uint64_t> got;
    for (auto more = end.Receive(); !more.empty(); more = end.Receive()) {
      got.insert(got.end(), more.begin(), more.end());
    }
    CHECK(got == Range(5, 205));
    CHECK(end.up());
    end.Reopen();
  }
}

TEST_CASE("each frame that is sent is in the file as soon as it is reclaimed, and stays over a reopening") {
  const TempFolder folder;
  WireEnd end(MakeCaptureWire({.write_path = folder.file("out")}));
  CHECK(end.Send(1, 10) == 10);
  end.wire().Reclaim(0);
  CHECK(ReadNumbers(folder.file("out")) == Range(1, 11));
  end.Reopen();
  CHECK(end.Send(11, 10) == 10);
  end.wire().Close();
  CHECK(ReadNumbers(folder.file("out")) == Range(1, 21));
  CHECK(end.out() == 0);
}

TEST_CASE("frames longer than a buffer cross in pieces, both ways") {
  const TempFolder folder;
  WriteNumbered(folder.file("long"), 1, 20, 9000);
  CHECK(ReadNumbers(folder.file("long")) == Range(1, 21));
}

TEST_CASE("a pool that is dry loses no record") {
  const TempFolder folder;
  WriteNumbered(folder.file("in"), 1, 60);
  WireEnd end(MakeCaptureWire({.read_path = folder.file("in")}), {.packets = 16});
  std::vector<PacketPtr> held;
  Burst burst;
  while (PacketPtr packet = end.pool().GetOne()) held.push_back(std::move(packet));
  CHECK(end.wire().Receive(burst) == 0);
  held.clear();
  CHECK(end.Receive().front() == 1);
}

TEST_CASE("a capture that is cut off gives its whole records, and is counted once as malformed") {
  const TempFolder folder;
  WriteNumbered(folder.file("whole"), 1, 10);
  std::ifstream whole(folder.file("whole"), std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(whole), {});
  std::ofstream(folder.file("cut"), std::ios::binary) << bytes.substr(0, bytes.size() - 20);
  WireEnd end(MakeCaptureWire({.read_path = folder.file("cut")}));
  CHECK(end.Receive() == Range(1, 10));
  CHECK(end.Receive().empty());
  CHECK(end.Lost(DropReason::kMalformed) == 1);
}

TEST_CASE("records that can be no frame are dropped, each for its reason") {
  const TempFolder folder;
  auto writer = CaptureWriter::Create(folder.file("in"), {});
  REQUIRE(writer.ok());
  const std::vector<uint8_t> bytes(70'000);
  REQUIRE((*writer)->Write(CaptureRecord{.bytes = absl::MakeConstSpan(bytes).first(13)}).ok());
  REQUIRE((*writer)->Write(CaptureRecord{.bytes = bytes}).ok());
  REQUIRE((*writer)->Close().ok());
  WireEnd end(MakeCaptureWire({.read_path = folder.file("in")}));
  CHECK(end.Receive().empty());
  CHECK(end.Lost(DropReason::kTooShort) == 1);
  CHECK(end.Lost(DropReason::kTooLong) == 1);
}

TEST_CASE("a file that cannot be written any more costs frames, which are counted") {
  WireEnd end(MakeCaptureWire({.write_path = "/dev/full"}));
  CHECK(end.Send(1, 3) == 3);
  end.wire().Reclaim(0);
  CHECK(end.Send(4, 2) == 2);
  CHECK(end.Lost(DropReason::kDeviceError) == 5);
}

TEST_CASE("files that cannot be had are told when the wire is opened") {
  const TempFolder folder;
  auto pool = PacketPool::Create({.packets = 64});
  const auto open = [&](const CaptureWireOptions& options) {
    return MakeCaptureWire(options)->Open({.pool = pool->get()});
  };
  CHECK(absl::IsNotFound(open({.read_path = folder.file("none")})));
  CHECK_FALSE(open({.write_path = "/nowhere/out"}).ok());
  std::ofstream(folder.file("text")) << "this is no capture";
  CHECK(absl::IsInvalidArgument(open({.read_path = folder.file("text")})));
}

}  // namespace
}  // namespace sluice
