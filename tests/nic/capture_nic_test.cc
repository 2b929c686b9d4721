// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/capture_nic.h"

#include <poll.h>
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "sluice/base/status.h"
#include "sluice/packet/capture_file.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/support/copying_segmenter.h"
#include "tests/support/frames.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::MakePacket;
using testing::Readable;
using testing::TempFolder;
using testing::UdpFrame;

constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kBirth = 1'700'000'000'000'000'000;  // of the captures here

struct Frame {
  Nanoseconds time;
  Bytes bytes;
  bool operator==(const Frame& other) const = default;
};

Bytes Numbered(uint8_t number, size_t payload = 20) {
  return UdpFrame({.ip_id = number, .payload_size = payload});
}

// Frames `gap` apart.
std::vector<Frame> Frames(uint8_t count, Nanoseconds gap = kMillisecond, size_t payload = 20) {
  std::vector<Frame> frames;
  for (uint8_t i = 0; i < count; ++i) frames.push_back({kBirth + i * gap, Numbered(i, payload)});
  return frames;
}

void WriteCapture(const std::string& path, const std::vector<Frame>& frames, CaptureFormat format) {
  auto writer = CaptureWriter::Create(path, {.format = format});
  REQUIRE(writer.ok());
  for (const Frame& frame : frames) {
    REQUIRE((*writer)->Write(CaptureRecord{.timestamp = frame.time, .bytes = frame.bytes}).ok());
  }
  REQUIRE((*writer)->Close().ok());
}

std::vector<Frame> ReadCapture(const std::string& path) {
  std::vector<Frame> frames;
  auto reader = CaptureReader::Open(path);
  REQUIRE(reader.ok());
  CaptureRecord record;
  for (auto more = (*reader)->Read(record); more.ok() && *more; more = (*reader)->Read(record))
    frames.push_back({record.timestamp, Bytes(record.bytes.begin(), record.bytes.end())});
  return frames;
}

// Files of this process cannot grow beyond it, as if the disk were full (setrlimit(2), RLIMIT_FSIZE).
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

// A folder with a capture to read, a pool, and the Nic on them.
struct Replay {
  explicit Replay(const std::vector<Frame>& frames, CaptureNicOptions options = {}) {
    WriteCapture(folder.file("in"), frames, CaptureFormat::kPcapNanoseconds);
    options.read_path = folder.file("in");
    options.clock = &clock;
    Open(options);
  }
  void Open(const CaptureNicOptions& options) {
    auto opened = OpenCaptureNic(options);
    REQUIRE(opened.ok());
    nic = *std::move(opened);
    REQUIRE(nic->Start({.pool = pool.get()}).ok());
  }

  // What can be received now.
  std::vector<Frame> Receive() {
    std::vector<Frame> frames;
    for (Burst burst; nic->rx(QueueId(0)).Receive(burst) != 0; burst.Clear()) {
      for (const Packet* packet : burst) frames.push_back({packet->timestamp(), BytesOf(*packet)});
    }
    return frames;
  }
  std::vector<NicEvent::Kind> Events() {
    std::vector<NicEvent::Kind> kinds;
    for (const NicEvent& event : nic->TakeEvents()) kinds.push_back(event.kind);
    return kinds;
  }
  void Send(const Bytes& frame) {
    Burst burst;
    burst.Push(MakePacket(*pool, frame));
    CHECK(nic->tx(QueueId(0)).Send(burst) == 1);
  }

  TempFolder folder;
  ManualClock clock;
  std::unique_ptr<PacketPool> pool =
      *PacketPool::Create({.packets = 512, .buffer_size = 2048, .huge_pages = HugePages::kOff});
  std::unique_ptr<Nic> nic;
};

}  // namespace

TEST_CASE("a capture arrives whole, in order, with the file's times, and its end takes the link down") {
  const auto format = GENERATE(CaptureFormat::kPcapng, CaptureFormat::kPcapNanoseconds);
  const std::vector<Frame> frames = Frames(100);
  Replay replay(frames);
  WriteCapture(replay.folder.file("in"), frames, format);
  REQUIRE(replay.nic->Stop().ok());
  REQUIRE(replay.nic->Start({.pool = replay.pool.get()}).ok());

  CHECK(replay.nic->link() == LinkState::kUp);
  CHECK(replay.Receive() == frames);
  CHECK(replay.nic->link() == LinkState::kDown);
  CHECK(Readable(replay.nic->event_fd()));
  CHECK(replay.Events() == std::vector{NicEvent::Kind::kLinkDown});
  CHECK_FALSE(Readable(replay.nic->event_fd()));
  CHECK(replay.nic->rx(QueueId(0)).stats().packets == 100);
}

TEST_CASE("every Start reads the file from its beginning") {
  const std::vector<Frame> frames = Frames(3);
  Replay replay(frames);
  for (int round = 0; round < 3; ++round) {
    CHECK(replay.Receive() == frames);
    REQUIRE(replay.nic->Stop().ok());
    REQUIRE(replay.nic->Start({.pool = replay.pool.get()}).ok());
  }
}

TEST_CASE("a file is read as often as asked, and an empty one once, even for ever") {
  Replay thrice(Frames(40), {.loops = 3});
  CHECK(thrice.Receive().size() == 120);
  CHECK(thrice.nic->link() == LinkState::kDown);

  Replay for_ever(Frames(40), {.loops = 0});
  Burst burst;
  for (int i = 0; i < 100; ++i, burst.Clear()) CHECK(for_ever.nic->rx(QueueId(0)).Receive(burst) == 64);
  CHECK(for_ever.nic->link() == LinkState::kUp);

  Replay nothing({}, {.loops = 0});
  CHECK(nothing.Receive().empty());
  CHECK(nothing.nic->link() == LinkState::kDown);
}

TEST_CASE("a paced capture keeps the file's gaps, by its speed") {
  Replay replay(Frames(10, 10 * kMillisecond), {.speed = 2});
  CHECK(replay.Receive().size() == 1);
  replay.clock.Advance(absl::Milliseconds(4));
  CHECK(replay.Receive().empty());
  replay.clock.Advance(absl::Milliseconds(1));
  CHECK(replay.Receive().size() == 1);
  replay.clock.Advance(absl::Milliseconds(20));
  CHECK(replay.Receive().size() == 4);
  replay.clock.Advance(absl::Milliseconds(20));
  CHECK(replay.Receive().size() == 4);
  CHECK(replay.nic->link() == LinkState::kDown);
}

TEST_CASE("the next pass of a paced capture starts when the last frame was due") {
  Replay replay(Frames(2, 10 * kMillisecond), {.speed = 1, .loops = 2});
  CHECK(replay.Receive().size() == 1);
  replay.clock.Advance(absl::Milliseconds(10));
  CHECK(replay.Receive().size() == 2);  // the last of one pass, the first of the next
  replay.clock.Advance(absl::Milliseconds(10));
  CHECK(replay.Receive().size() == 1);
}

TEST_CASE("a time that runs back in the file delays nothing") {
  std::vector<Frame> frames = Frames(3, 10 * kMillisecond);
  frames[1].time = kBirth - 5 * kMillisecond;
  Replay replay(frames, {.speed = 1});
  CHECK(replay.Receive().size() == 2);
  replay.clock.Advance(absl::Milliseconds(20));
  CHECK(replay.Receive().size() == 1);
}

TEST_CASE("a paced capture on the real clock wakes a sleeper when a frame is due") {
  Replay replay(Frames(2, 30 * kMillisecond));
  replay.nic.reset();
  replay.Open({.read_path = replay.folder.file("in"), .speed = 1});
  RxQueue& rx = replay.nic->rx(QueueId(0));
  CHECK(replay.nic->capabilities().sleeps);
  CHECK(replay.Receive().size() == 1);
  if (rx.Arm()) {  // unless this thread was away for so long
    pollfd sleeper{rx.fd(), POLLIN, 0};
    CHECK(poll(&sleeper, 1, 5000) == 1);
    CHECK(replay.Receive().size() == 1);
    CHECK(rx.stats().wakeups == 1);
  }
  CHECK(rx.Arm());
  CHECK_FALSE(Readable(rx.fd()));
}

TEST_CASE("a file that is read flat out lets its reader sleep at its end, and while the pool is dry") {
  Replay replay(Frames(100));
  RxQueue& rx = replay.nic->rx(QueueId(0));
  CHECK_FALSE(rx.Arm());
  std::vector<Burst> hoard(8);
  for (Burst& burst : hoard) replay.pool->Get(burst, 64);
  CHECK(replay.Receive().empty());
  REQUIRE(rx.Arm());
  hoard.clear();
  pollfd sleeper{rx.fd(), POLLIN, 0};
  CHECK(poll(&sleeper, 1, 5000) == 1);

  CHECK(replay.Receive().size() == 100);
  CHECK(rx.Arm());
  CHECK(poll(&sleeper, 1, 20) == 0);  // for good, and not until the next look at the pool
}

TEST_CASE("a file that is cut off gives its whole records, then says so") {
  const std::vector<Frame> frames = Frames(10);
  Replay replay(frames);
  REQUIRE(replay.nic->Stop().ok());
  const auto size = std::filesystem::file_size(replay.folder.file("in"));
  std::filesystem::resize_file(replay.folder.file("in"), size - 7);
  REQUIRE(replay.nic->Start({.pool = replay.pool.get()}).ok());

  CHECK(replay.Receive() == std::vector<Frame>(frames.begin(), frames.end() - 1));
  CHECK(replay.nic->link() == LinkState::kDown);
  CHECK(replay.nic->drops()[DropReason::kMalformed] == 1);
  CHECK(replay.Events() == std::vector{NicEvent::Kind::kQueueError, NicEvent::Kind::kLinkDown});
  CHECK(replay.Receive().empty());
}

TEST_CASE("frames longer than a buffer arrive in fragments, frames that are none are counted") {
  std::vector<Frame> frames = {
      {kBirth, Numbered(1, 9000)}, {kBirth, Bytes(13)}, {kBirth, Bytes(65536)}, {kBirth, Numbered(2)}};
  Replay replay(frames);
  CHECK(replay.Receive() == std::vector<Frame>{frames[0], frames[3]});
  CHECK(replay.nic->drops()[DropReason::kTooShort] == 1);
  CHECK(replay.nic->drops()[DropReason::kTooLong] == 1);
  CHECK(replay.pool->available() == 512);
}

TEST_CASE("the file waits while the pool is dry") {
  Replay replay(Frames(100));
  std::vector<Burst> hoard(8);
  for (Burst& burst : hoard) replay.pool->Get(burst, 64);
  CHECK(replay.Receive().empty());
  CHECK(replay.nic->link() == LinkState::kUp);
  hoard.clear();
  CHECK(replay.Receive().size() == 100);
  CHECK(replay.nic->drops().total() == 0);
}

TEST_CASE("what is sent is written, with requests fulfilled, in the form asked for") {
  const auto format = GENERATE(CaptureFormat::kPcapng, CaptureFormat::kPcapMicroseconds);
  Replay replay(Frames(1));
  const std::string path = replay.folder.file("out");
  replay.Open({.write_path = path, .write_format = format});
  PacketPtr packet = MakePacket(*replay.pool, Numbered(7), 60);
  packet->data()[40] ^= 0xff;
  packet->offload.l4_checksum = true;
  Burst burst;
  burst.Push(std::move(packet));
  CHECK(replay.nic->tx(QueueId(0)).Send(burst) == 1);
  CHECK(ReadCapture(path).empty());  // buffered
  replay.nic->tx(QueueId(0)).Reclaim();

  const std::vector<Frame> written = ReadCapture(path);
  REQUIRE(written.size() == 1);
  CHECK(written[0].bytes == Numbered(7));
  CHECK(written[0].time > kBirth);
  CHECK((*CaptureReader::Open(path))->format() == format);
}

TEST_CASE("what asks to be cut is written as the frames that a twin cuts, each with its tag") {
  Replay replay(Frames(1));
  const std::string path = replay.folder.file("out");
  replay.Open({.write_path = path});
  testing::FrameSpec spec = {.payload_size = 9000};
  PacketPtr packet = MakePacket(*replay.pool, testing::TcpFrame(spec));
  packet->offload = {.l4_checksum = true, .segment = true, .insert_vlan = true, .mss = 1400};
  packet->vlan_tci = 7;
  const uint32_t length = packet->length();
  Burst burst;
  burst.Push(std::move(packet));
  CHECK(replay.nic->tx(QueueId(0)).Send(burst) == 1);
  REQUIRE(replay.nic->Stop().ok());

  spec.vlans = {7};
  const Bytes tagged = testing::TcpFrame(spec);
  Layers layers;
  REQUIRE(Parse(tagged, static_cast<uint32_t>(tagged.size()), layers) == ParseVerdict::kOk);
  std::vector<Bytes> written;
  for (const Frame& frame : ReadCapture(path)) written.push_back(frame.bytes);
  CHECK((written == testing::CopyingSegment(tagged, layers, 1400)));
  CHECK(replay.nic->tx(QueueId(0)).stats().packets == 1);
  CHECK(replay.nic->tx(QueueId(0)).stats().bytes == length);
}

TEST_CASE("a time that the format cannot tell costs no frame") {
  const Nanoseconds too_late = (Nanoseconds{1} << 32) * 1'000'000'000;  // after 2106
  Replay replay({{kBirth, Numbered(1)}});
  const std::string path = replay.folder.file("out");
  replay.Open({.write_path = path, .write_format = CaptureFormat::kPcapMicroseconds, .keep_times = true});
  PacketPtr packet = MakePacket(*replay.pool, Numbered(1));
  packet->set_timestamp(too_late);
  Burst burst;
  burst.Push(std::move(packet));
  replay.nic->tx(QueueId(0)).Send(burst);
  REQUIRE(replay.nic->Stop().ok());
  const std::vector<Frame> written = ReadCapture(path);
  REQUIRE(written.size() == 1);
  CHECK(written[0].time < too_late);
}

TEST_CASE("times may be kept from one file to the other") {
  const std::vector<Frame> frames = Frames(50);
  Replay replay(frames);
  const std::string path = replay.folder.file("out");
  auto out = OpenCaptureNic({.write_path = path, .keep_times = true});
  REQUIRE((*out)->Start({.pool = replay.pool.get()}).ok());
  Burst burst;
  while (replay.nic->rx(QueueId(0)).Receive(burst) != 0) (*out)->tx(QueueId(0)).Send(burst);
  REQUIRE((*out)->Stop().ok());
  CHECK(ReadCapture(path) == frames);
}

TEST_CASE("what is written goes on over Stop and Start, and after the end of what is read") {
  Replay replay(Frames(1));
  const std::string path = replay.folder.file("out");
  replay.Open({.read_path = replay.folder.file("in"), .write_path = path});
  CHECK(replay.Receive().size() == 1);
  CHECK(replay.nic->link() == LinkState::kDown);
  replay.Send(Numbered(1));
  REQUIRE(replay.nic->Stop().ok());
  REQUIRE(replay.nic->Start({.pool = replay.pool.get()}).ok());
  replay.Send(Numbered(2));
  replay.nic.reset();
  CHECK(ReadCapture(path).size() == 2);
}

TEST_CASE("a disk that fills up is one event, and every record that it did not take is counted") {
  Replay replay(Frames(1));
  replay.Open({.write_path = replay.folder.file("out")});
  {
    const FileSizeLimit limit(1024);
    for (uint8_t i = 0; i < 3; ++i) replay.Send(Numbered(i, 1000));
    replay.nic->tx(QueueId(0)).Reclaim();
  }
  CHECK(replay.Events() == std::vector{NicEvent::Kind::kQueueError});
  CHECK(replay.nic->drops()[DropReason::kDeviceError] == 3);
  replay.Send(Numbered(4));
  CHECK(replay.nic->drops()[DropReason::kDeviceError] == 4);
  REQUIRE(replay.nic->Stop().ok());
  CHECK(replay.Events().empty());
}

TEST_CASE("without a file to write, what is sent is counted as without destination") {
  Replay replay(Frames(1));
  replay.Send(Numbered(1));
  CHECK(replay.nic->drops()[DropReason::kNoDestination] == 1);
  CHECK(replay.pool->available() == 512);
}

TEST_CASE("paths and options that are no good are refused with the remedy") {
  TempFolder folder;
  std::ofstream(folder.file("text")) << "this is no capture, but long enough to be one";
  std::ofstream(folder.file("empty"));
  auto bluetooth = CaptureWriter::Create(
      folder.file("hci"), {.format = CaptureFormat::kPcapMicroseconds, .interfaces = {{.link_type = 187}}});
  REQUIRE((*bluetooth)->Close().ok());
  for (const CaptureNicOptions& options :
       std::vector<CaptureNicOptions>{{.read_path = folder.file("none")},
                                      {.read_path = folder.file("text")},
                                      {.read_path = folder.file("empty")},
                                      {.read_path = folder.file("hci")},
                                      {.read_path = folder.path()},
                                      {.write_path = folder.file("no/folder")},
                                      {.write_path = "/dev/full"},
                                      {.write_path = folder.path()},
                                      {},
                                      {.read_path = "x", .write_path = "x"},
                                      {.speed = -1, .write_path = folder.file("out")}}) {
    const auto refused = OpenCaptureNic(options);
    REQUIRE_FALSE(refused.ok());
    REQUIRE(ProblemOf(refused.status()).has_value());
    CHECK_FALSE(ProblemOf(refused.status())->remedy.empty());
  }
  CHECK(OpenCaptureNic({.read_path = folder.file("none")}).status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("a capture port starts once, with one queue each way, and without rules") {
  Replay replay(Frames(1));
  CHECK(replay.nic->Start({.pool = replay.pool.get()}).code() == absl::StatusCode::kFailedPrecondition);
  REQUIRE(replay.nic->Stop().ok());
  CHECK(replay.nic->Stop().ok());
  CHECK_FALSE(replay.nic->Start({.rx_queues = 2, .pool = replay.pool.get()}).ok());
  CHECK_FALSE(replay.nic->Start({.rx_ring = 100, .pool = replay.pool.get()}).ok());
  CHECK_FALSE(replay.nic->Start({.pool = nullptr}).ok());
  CHECK(replay.nic->InstallRule({}).status().code() == absl::StatusCode::kUnimplemented);
}

}  // namespace sluice
