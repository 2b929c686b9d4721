// SPDX-License-Identifier: Apache-2.0
// Capture files that we write as Wireshark's tools and libpcap read them, and the other way round.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "sluice/packet/capture_file.h"
#include "tests/support/frames.h"
#include "tests/support/process.h"
#include "tests/support/skip.h"
#include "tests/support/tshark.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr Nanoseconds kTime = 1'700'000'000'123'456'789;

// A folder of this test, gone at the end.
class Folder {
 public:
  Folder()
      : path_(absl::StrCat(std::filesystem::temp_directory_path().string(), "/sluice-judges-", getpid())) {
    std::filesystem::create_directory(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return absl::StrCat(path_, "/", name); }

 private:
  const std::string path_;
};

std::string Run(const std::string& command) {
  const CommandResult result = RunCommand(command, nullptr, absl::Minutes(1));
  INFO(command << "\n" << result.output);
  REQUIRE(result.ok());
  return result.output;
}

void Need(const std::string& program, const std::string& package) {
  if (!RunCommand("command -v " + program).ok())
    SkipTest(absl::StrCat("needs ", program, ": install ", package));
}

std::vector<Bytes> Frames() { return {TcpFrame({}), UdpFrame({.payload_size = 1000}), Padded(ArpFrame({}))}; }

void WriteFrames(const std::string& path, const CaptureWriterOptions& options) {
  auto writer = CaptureWriter::Create(path, options).value();
  for (const Bytes& frame : Frames()) {
    REQUIRE(writer->Write(CaptureRecord{.timestamp = kTime, .bytes = frame}).ok());
  }
  REQUIRE(writer->Close().ok());
}

void CheckHoldsFrames(const std::string& path, Nanoseconds resolution) {
  auto reader = CaptureReader::Open(path).value();
  CaptureRecord record;
  for (const Bytes& frame : Frames()) {
    REQUIRE(reader->Read(record).value());
    CHECK(record.bytes == frame);
    CHECK(record.original_length == frame.size());
    CHECK(record.timestamp == kTime / resolution * resolution);
  }
  CHECK_FALSE(reader->Read(record).value());
}

constexpr CaptureFormat kFormats[] = {CaptureFormat::kPcapng, CaptureFormat::kPcapNanoseconds,
                                      CaptureFormat::kPcapMicroseconds};

TEST_CASE("tshark reads what we write, with its times, in every format") {
  Need("tshark", "tshark");
  const Folder folder;
  for (const CaptureFormat format : kFormats) {
    WriteFrames(folder / "out", {.format = format});
    const std::string fields = Run(absl::StrCat("tshark -n -r ", folder / "out",
                                                " -T fields -e frame.time_epoch -e frame.len 2>/dev/null"));
    const std::string time =
        format == CaptureFormat::kPcapMicroseconds ? "1700000000.123456000" : "1700000000.123456789";
    CHECK(fields == absl::StrCat(time, "\t73\n", time, "\t1042\n", time, "\t60\n"));
  }
}

TEST_CASE("tshark shows the interface names, the comments and the application of our pcapng") {
  const Folder folder;
  const Bytes frame = TcpFrame({});
  auto writer = CaptureWriter::Create(
                    folder / "out",
                    {.interfaces = {{.name = "guest0"}, {.name = "up link"}}, .application = "sluice test"})
                    .value();
  REQUIRE(writer->Write(CaptureRecord{.interface = 1, .bytes = frame}, "dropped: no-vlan").ok());
  REQUIRE(writer->Write(CaptureRecord{.interface = 0, .bytes = frame}).ok());
  REQUIRE(writer->Close().ok());
  const std::vector<DissectedFrame> frames = Dissect(folder / "out");
  REQUIRE(frames.size() == 2);
  CHECK(frames[0].interface == "up link");
  CHECK(frames[0].comment == "dropped: no-vlan");
  CHECK(frames[1].interface == "guest0");
  CHECK(frames[1].comment.empty());
  CHECK_THAT(Run("capinfos " + (folder / "out")), Catch::Contains("sluice test"));
}

TEST_CASE("we read what editcap writes, in every format") {
  Need("editcap", "tshark");
  const Folder folder;
  WriteFrames(folder / "in", {});
  const std::pair<const char*, Nanoseconds> formats[] = {{"pcap", 1000}, {"nsecpcap", 1}, {"pcapng", 1}};
  for (const auto& [format, resolution] : formats) {
    INFO(format);
    Run(absl::StrCat("editcap -F ", format, " ", folder / "in", " ", folder / "out"));
    CheckHoldsFrames(folder / "out", resolution);
  }
}

TEST_CASE("libpcap reads what we write, and we read what it writes") {
  Need("tcpdump", "tcpdump");
  const Folder folder;
  for (const CaptureFormat format : kFormats) {
    WriteFrames(folder / "in", {.format = format});
    Run(absl::StrCat("tcpdump -n -r ", folder / "in", " --nano -w ", folder / "out"));
    CheckHoldsFrames(folder / "out", format == CaptureFormat::kPcapMicroseconds ? 1000 : 1);
  }
}

}  // namespace
}  // namespace sluice
