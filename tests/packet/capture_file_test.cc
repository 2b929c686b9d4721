// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/capture_file.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/packet/capture_bytes.h"
#include "tests/packet/parsed_packet.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // the frame builder's words

constexpr CaptureFormat kFormats[] = {CaptureFormat::kPcapng, CaptureFormat::kPcapNanoseconds,
                                      CaptureFormat::kPcapMicroseconds};

// A file name of this process, gone at the end.
class TempFile {
 public:
  TempFile()
      : path_(absl::StrCat(std::filesystem::temp_directory_path().string(), "/sluice-", getpid(), "-",
                           ++count_)) {}
  ~TempFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

  void Fill(const Bytes& bytes) const {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  Bytes Contents() const {
    std::ifstream in(path_, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), {});
  }

 private:
  static inline int count_ = 0;
  const std::string path_;
};

struct Kept {
  Nanoseconds timestamp = 0;
  uint32_t original_length = 0;
  uint32_t interface = 0;
  uint16_t link_type = 0;
  Bytes bytes;
  bool operator==(const Kept&) const = default;
};

struct Contents {
  std::vector<Kept> records;
  std::vector<CaptureInterface> interfaces;
  absl::Status status;  // of the open, or of the last read
};

Contents ReadAll(const std::string& path) {
  Contents all;
  auto reader = CaptureReader::Open(path);
  all.status = reader.status();
  while (all.status.ok()) {
    CaptureRecord record;
    const absl::StatusOr<bool> more = (*reader)->Read(record);
    all.status = more.status();
    if (!more.ok() || !*more) break;
    all.records.push_back({record.timestamp, record.original_length, record.interface, record.link_type,
                           Bytes(record.bytes.begin(), record.bytes.end())});
  }
  if (reader.ok()) all.interfaces = (*reader)->interfaces();
  return all;
}

Contents ReadBytes(const Bytes& bytes) {
  TempFile file;
  file.Fill(bytes);
  return ReadAll(file.path());
}

CaptureRecord RecordOf(const Kept& kept) {
  return {.timestamp = kept.timestamp,
          .original_length = kept.original_length,
          .interface = kept.interface,
          .link_type = kept.link_type,
          .bytes = kept.bytes};
}

absl::Status WriteAll(const std::string& path, const CaptureWriterOptions& options,
                      const std::vector<Kept>& records) {
  auto writer = CaptureWriter::Create(path, options);
  if (!writer.ok()) return writer.status();
  for (const Kept& kept : records) {
    const absl::Status status = (*writer)->Write(RecordOf(kept));
    if (!status.ok()) return status;
  }
  return (*writer)->Close();
}

constexpr Nanoseconds kTime = 1'700'000'000'123'456'000;  // whole microseconds

std::vector<Kept> SomeRecords() {
  return {{kTime, 61, 0, kLinkEthernet, TcpFrame({})},
          {kTime + 1000, 2000, 0, kLinkEthernet, Bytes(61, 7)},
          {0, 0, 0, kLinkEthernet, {}},
          {kTime, kMaxCaptureBytes, 0, kLinkEthernet, Bytes(kMaxCaptureBytes, 1)}};
}

TEST_CASE("what is written is read back, in every format") {
  for (const CaptureFormat format : kFormats) {
    TempFile file;
    std::vector<Kept> records = SomeRecords();
    records[0].original_length = static_cast<uint32_t>(records[0].bytes.size());
    REQUIRE(WriteAll(file.path(), {.format = format}, records).ok());
    const Contents read = ReadAll(file.path());
    CHECK(read.status.ok());
    CHECK(read.records == records);
    CHECK(CaptureReader::Open(file.path()).value()->format() == format);
  }
}

TEST_CASE("nanoseconds survive where the format has them, and are cut to microseconds where not") {
  for (const CaptureFormat format : kFormats) {
    TempFile file;
    REQUIRE(WriteAll(file.path(), {.format = format}, {{kTime + 789, 1, 0, kLinkEthernet, {1}}}).ok());
    const bool cut = format == CaptureFormat::kPcapMicroseconds;
    CHECK(ReadAll(file.path()).records.at(0).timestamp == (cut ? kTime : kTime + 789));
  }
}

TEST_CASE("pcapng keeps interfaces apart, with name, link type and snap length") {
  TempFile file;
  const CaptureWriterOptions options{
      .interfaces = {{.name = "veth0"}, {.name = "guest 1", .link_type = 101, .snap_length = 10}},
      .application = "test"};
  const std::vector<Kept> records = {{kTime, 20, 1, 101, Bytes(20, 1)},
                                     {kTime, 20, 0, kLinkEthernet, Bytes(20, 2)}};
  REQUIRE(WriteAll(file.path(), options, records).ok());
  const Contents read = ReadAll(file.path());
  REQUIRE(read.interfaces.size() == 2);
  CHECK(read.interfaces[0].name == "veth0");
  CHECK(read.interfaces[1].name == "guest 1");
  REQUIRE(read.records.size() == 2);
  CHECK(read.records[0] == Kept{kTime, 20, 1, 101, Bytes(10, 1)});
  CHECK(read.records[1] == records[1]);
}

TEST_CASE("a packet in fragments is written as one record") {
  const Bytes frame = UdpFrame({.payload_size = 1001});
  for (const CaptureFormat format : kFormats) {
    TempFile file;
    ParsedPacket packet(frame, 300);
    auto writer = CaptureWriter::Create(file.path(), {.format = format}).value();
    REQUIRE(writer->Write(*packet, kTime).ok());
    REQUIRE(writer->Close().ok());
    CHECK(ReadAll(file.path()).records.at(0).bytes == frame);
  }
}

TEST_CASE("files of the other byte order and of every time unit are read") {
  const Kept record{1'500'000'000, 60, 0, kLinkEthernet, Bytes(7, 3)};
  for (const bool swapped : {false, true}) {
    const FileBytes file(swapped);
    CHECK(ReadBytes(file.Pcap(0xa1b2c3d4, {{1, 500'000, 60, record.bytes}})).records.at(0) == record);
    CHECK(ReadBytes(file.Pcap(0xa1b23c4d, {{1, 500'000'000, 60, record.bytes}})).records.at(0) == record);
    const std::pair<uint8_t, uint64_t> units[] = {
        {6, 1'500'000}, {9, 1'500'000'000},      {3, 1'500},
        {0x80 | 1, 3},  {0x80 | 32, 3ull << 31}, {12, 1'500'000'000'000}};
    for (const auto& [unit, ticks] : units) {
      INFO(int{unit});
      const Bytes bytes = file.Section() + file.Interface(1, 0, file.Option(9, {unit})) +
                          file.Enhanced(0, ticks, 60, record.bytes);
      CHECK(ReadBytes(bytes).records.at(0) == record);
    }
  }
}

TEST_CASE("time offsets are added, and times that no clock can show are clamped") {
  const FileBytes file(false);
  const auto time = [&](const Bytes& options, uint64_t ticks) {
    const Bytes bytes = file.Section() + file.Interface(1, 0, options) + file.Enhanced(0, ticks, 1, {1});
    return ReadBytes(bytes).records.at(0).timestamp;
  };
  const auto offset = [&](int64_t seconds) {
    return file.Option(14, file.U64(static_cast<uint64_t>(seconds)));
  };
  CHECK(time(offset(10), 1'000'000) == 11'000'000'000);
  CHECK(time(offset(-10), 20'000'000) == 10'000'000'000);
  CHECK(time(offset(-10), 1) == 0);
  CHECK(time({}, ~0ull) == ~0ull);
  CHECK(time(file.Option(9, {0}), ~0ull) == ~0ull);
  CHECK(time(file.Option(9, {127}), ~0ull) == 0);
  CHECK(time(file.Option(9, {255}), ~0ull) == 0);
}

TEST_CASE("simple and old packet blocks are read, and blocks of other kinds skipped") {
  const FileBytes file(false);
  const Bytes head = file.Section() + file.Interface(1, 5, {});
  CHECK(ReadBytes(head + file.Simple(9, Bytes(5, 1))).records.at(0) == Kept{0, 9, 0, 1, Bytes(5, 1)});
  CHECK(ReadBytes(head + file.Simple(3, Bytes(3, 1))).records.at(0) == Kept{0, 3, 0, 1, Bytes(3, 1)});
  CHECK(ReadBytes(head + file.Old(0, 77, 1'000'000, 4, Bytes(4, 2))).records.at(0) ==
        Kept{1'000'000'000, 4, 0, 1, Bytes(4, 2)});
  const Bytes unknown = file.Block(0x0bad, Bytes(4 << 20));
  const Contents read = ReadBytes(head + unknown + file.Simple(3, {1, 2, 3}) + file.Block(5, {}));
  CHECK(read.status.ok());
  CHECK(read.records.size() == 1);
}

TEST_CASE("a new section forgets the interfaces of the old one and may have the other byte order") {
  const FileBytes one(false), two(true);
  const Bytes first = one.Section() + one.Interface(1, 0, {}) + one.Enhanced(0, 0, 1, {1});
  const Bytes second = two.Section() + two.Interface(113, 0, {}) + two.Enhanced(0, 0, 1, {2});
  const Contents read = ReadBytes(first + second);
  CHECK(read.status.ok());
  REQUIRE(read.records.size() == 2);
  CHECK(read.records[1].link_type == 113);
  CHECK(absl::IsDataLoss(ReadBytes(first + two.Section() + two.Enhanced(0, 0, 1, {2})).status));
}

TEST_CASE("a file cut anywhere yields every whole record, then an error that names the place") {
  for (const CaptureFormat format : kFormats) {
    TempFile file;
    const std::vector<Kept> records(3, Kept{kTime, 5, 0, kLinkEthernet, Bytes(5, 9)});
    REQUIRE(WriteAll(file.path(), {.format = format}, records).ok());
    const Bytes whole = file.Contents();
    size_t most = 0;
    for (size_t length = 0; length < whole.size(); ++length) {
      const Contents read = ReadBytes(Cut(whole, length));
      CHECK(read.records.size() >= most);
      most = std::max(most, read.records.size());
      // Only a cut between two records, or blocks, looks like an end.
      if (!read.status.ok()) CHECK_THAT(std::string(read.status.message()), Catch::Contains("offset"));
      if (length < 24) CHECK(!read.status.ok());
    }
    CHECK(most == 2);
    CHECK(absl::IsDataLoss(ReadBytes(Cut(whole, whole.size() - 1)).status));
    CHECK(ReadBytes(Cut(whole, whole.size() - 1)).records.size() == 2);
  }
}

TEST_CASE("an error stays the answer of later reads") {
  TempFile file;
  file.Fill(Cut(FileBytes(false).Pcap(0xa1b2c3d4, {{1, 0, 60, Bytes(60)}}), 50));
  auto reader = CaptureReader::Open(file.path()).value();
  CaptureRecord record;
  const absl::Status first = reader->Read(record).status();
  CHECK(absl::IsDataLoss(first));
  CHECK(reader->Read(record).status() == first);
}

TEST_CASE("lengths that cannot be are refused, not believed") {
  const FileBytes file(false);
  const Bytes head = file.Section() + file.Interface(1, 0, {});
  Bytes differing = file.Enhanced(0, 0, 1, {1});
  differing.back() = 1;
  Bytes odd = file.Block(6, Bytes(20));
  odd[4] = 33;
  const std::pair<const char*, Bytes> cases[] = {
      {"pcap record of 4 GiB", file.Pcap(0xa1b2c3d4, {{0, 0, 1, {1}, 0xffffffff}})},
      {"pcap record just too long", file.Pcap(0xa1b2c3d4, {{0, 0, 1, {1}, kMaxCaptureBytes + 1}})},
      {"record longer than its block", head + file.Enhanced(0, 0, 1, {1}, 5)},
      {"record of no interface", head + file.Enhanced(1, 0, 1, {1})},
      {"simple record before any interface", file.Section() + file.Simple(1, {1})},
      {"block too short for its kind", head + file.Block(6, Bytes(16))},
      {"block of 2 GiB that would be read", head + file.U32(6) + file.U32(0x80000000)},
      {"block shorter than its frame", head + file.U32(6) + file.U32(8)},
      {"block length not of four", head + odd},
      {"two lengths that differ", head + differing},
      {"option longer than its block", file.Section() + file.Interface(1, 0, file.U16(2) + file.U16(9))},
      {"skipped block that never ends", head + file.U32(99) + file.U32(0xfffffffc)},
  };
  for (const auto& [sentence, bytes] : cases) {
    INFO(sentence);
    const Contents read = ReadBytes(bytes);
    CHECK(absl::IsDataLoss(read.status));
    CHECK_THAT(std::string(read.status.message()), Catch::Contains("offset"));
    CHECK(read.records.empty());
  }
}

TEST_CASE("what is no capture file is refused with its name") {
  const std::pair<const char*, Bytes> cases[] = {
      {"empty", {}},
      {"three bytes", {0xd4, 0xc3, 0xb2}},
      {"text", {'#', '!', '/', 'b', 'i', 'n'}},
      {"pcap of version 3",
       [] {
         Bytes b = FileBytes(false).Pcap(0xa1b2c3d4, {});
         b[4] = 3;
         return b;
       }()},
      {"pcapng of version 2",
       [] {
         Bytes b = FileBytes(false).Section();
         b[12] = 2;
         return b;
       }()},
      {"section without byte order", {0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4}},
  };
  for (const auto& [sentence, bytes] : cases) {
    INFO(sentence);
    TempFile file;
    file.Fill(bytes);
    const absl::Status status = ReadAll(file.path()).status;
    CHECK(absl::IsInvalidArgument(status));
    CHECK_THAT(std::string(status.message()), Catch::Contains(file.path()));
  }
}

TEST_CASE("a missing file, a folder and a place that may not be written say what the system says") {
  CHECK(absl::IsNotFound(CaptureReader::Open("/nonexistent/in.pcap").status()));
  CHECK_FALSE(CaptureReader::Open("/").ok());
  CHECK(absl::IsNotFound(CaptureWriter::Create("/nonexistent/out.pcap", {}).status()));
}

TEST_CASE("a full disk is reported, at the latest by Close") {
  auto writer = CaptureWriter::Create("/dev/full", {}).value();
  const Bytes frame = TcpFrame({});
  absl::Status status = writer->Write(CaptureRecord{.bytes = frame});
  if (status.ok()) status = writer->Close();
  CHECK(absl::IsResourceExhausted(status));
  CHECK_THAT(std::string(status.message()), Catch::Contains("ENOSPC"));
}

TEST_CASE("what a format cannot hold is refused before anything is written") {
  const Bytes byte = {1};
  TempFile file;
  CHECK(absl::IsInvalidArgument(CaptureWriter::Create(file.path(), {.interfaces = {}}).status()));
  CHECK(absl::IsInvalidArgument(
      CaptureWriter::Create(file.path(), {.format = CaptureFormat::kPcapNanoseconds, .interfaces = {{}, {}}})
          .status()));
  CHECK_FALSE(std::filesystem::exists(file.path()));

  auto pcap = CaptureWriter::Create(file.path(), {.format = CaptureFormat::kPcapNanoseconds}).value();
  CHECK(absl::IsInvalidArgument(pcap->Write(CaptureRecord{.bytes = byte}, "comment")));
  CHECK(absl::IsInvalidArgument(pcap->Write(CaptureRecord{.interface = 1, .bytes = byte})));
  CHECK(absl::IsOutOfRange(pcap->Write(CaptureRecord{.timestamp = Nanoseconds{1} << 63, .bytes = byte})));
  const Bytes huge(kMaxCaptureBytes + 1);
  CHECK(absl::IsOutOfRange(pcap->Write(CaptureRecord{.bytes = huge})));
  REQUIRE(pcap->Close().ok());
  CHECK(ReadAll(file.path()).records.empty());
}

TEST_CASE("random damage to a capture file ends in records or an error, never worse") {
  Random random(PrintedSeed());
  const FileBytes file(true);
  const Bytes whole[] = {file.Pcap(0xa1b23c4d, {{1, 2, 60, Bytes(60)}, {3, 4, 61, Bytes(33)}}),
                         file.Section() + file.Interface(1, 0, file.Option(2, {'e'})) +
                             file.Enhanced(0, 5, 60, Bytes(60)) + file.Simple(3, Bytes(3))};
  TempFile temp;
  for (int round = 0; round < 2'000; ++round) {
    Bytes bytes = whole[Below(random, 2)];
    for (uint64_t n = Below(random, 4); n > 0; --n)
      bytes[Below(random, bytes.size())] = static_cast<uint8_t>(random());
    temp.Fill(Cut(bytes, Below(random, bytes.size() + 1)));
    const Contents read = ReadAll(temp.path());
    for (const Kept& kept : read.records) {
      if (kept.original_length < kept.bytes.size()) FAIL("a record longer than its frame");
    }
    if (!read.status.ok() && read.status.message().find("offset") == std::string::npos) FAIL(read.status);
  }
}

}  // namespace
}  // namespace sluice
