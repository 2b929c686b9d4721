// SPDX-License-Identifier: Apache-2.0
// A guest that sends 100,000 frames a second while its host is killed and started again: how long nobody takes them. Whoever
// sends is not an emulator, which has not the time for as many.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "sluice/nic/vhost_nic.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/figure.h"
#include "tests/support/guest.h"
#include "tests/support/process.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

constexpr int64_t kFramesPerSecond = 100'000;
constexpr uint32_t kMostFrames = 4'000'000;
constexpr size_t kStampAt = 14;  // behind the Ethernet header: the frame's number, 8 bytes
constexpr absl::Duration kPatience = absl::Minutes(1);

// What hosts have seen, in memory that they share with the test.
struct Log {
  std::atomic<int64_t> first_at{0};              // of the host that runs now, in nanoseconds; 0: nothing yet
  std::atomic<uint64_t> frames{0};               // of the host that runs now
  std::atomic<uint8_t> times[kMostFrames] = {};  // that each frame came
};

struct Unmap {
  void operator()(Log* log) const { munmap(log, sizeof(Log)); }
};
std::unique_ptr<Log, Unmap> MakeLog() {
  void* const memory = mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return std::unique_ptr<Log, Unmap>(new (memory) Log);
}

std::unique_ptr<PacketPool> Pool() {
  return *PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff});
}

void Note(const Packet& packet, Log& log) {
  uint64_t number = kMostFrames;
  if (packet.length() >= kStampAt + sizeof(number)) {
    std::memcpy(&number, packet.data() + kStampAt, sizeof(number));
  }
  if (number < kMostFrames) ++log.times[number];
  ++log.frames;
  if (log.first_at == 0) log.first_at = absl::GetCurrentTimeNanos();
}

// A host, in a process of its own.
int ServeForEver(const std::string& path, Log& log) {
  const std::unique_ptr<PacketPool> pool = Pool();
  const std::unique_ptr<VhostNic> port = *OpenVhostNic({.path = path});
  if (!port->Start({.pool = pool.get()}).ok()) return 1;
  Burst burst;
  for (;;) {
    (void)port->TakeEvents();
    port->rx(QueueId{0}).Receive(burst);
    for (const Packet* packet : burst) Note(*packet, log);
    burst.Clear();
  }
}

// A guest that sends at its pace whether anybody takes it or not, as a card on a wire would.
class Sender {
 public:
  explicit Sender(const std::string& path) : pool_(Pool()), guest_({.path = path}) {
    if (!guest_.Start({.pool = pool_.get()}).ok()) throw std::runtime_error("no guest");
  }
  ~Sender() { CHECK(guest_.Stop() == absl::OkStatus()); }

  // Sends until `done` says so. What cannot be sent at its time is lost.
  template <typename Done>
  bool SendUntil(const Done& done) {
    const absl::Time begun = absl::Now();
    const uint64_t before = number_;
    while (!done()) {
      if (absl::Now() > begun + kPatience || number_ + Burst::kCapacity > kMostFrames) return false;
      (void)guest_.TakeEvents();
      const auto due = static_cast<uint64_t>(absl::ToInt64Microseconds(absl::Now() - begun) *
                                             kFramesPerSecond / 1'000'000);
      SendSome(std::min<uint64_t>(due - std::min(due, number_ - before), Burst::kCapacity));
    }
    return true;
  }
  uint64_t connections() { return guest_.front().connections(); }
  uint64_t number() const { return number_; }

 private:
  void SendSome(uint64_t count) {
    Burst burst;
    pool_->Get(burst, count);
    for (Packet* packet : burst) {
      std::memset(packet->data(), 0x88, 60);
      std::memcpy(packet->data() + kStampAt, &number_, sizeof(number_));
      packet->SetLength(60);
      ++number_;
    }
    if (!burst.empty()) guest_.tx(QueueId{0}).Send(burst);
  }

  const std::unique_ptr<PacketPool> pool_;
  VirtioUserNic guest_;
  uint64_t number_ = 0;
};

// From the moment at which the guest is connected again until it is heard.
absl::Duration GapOfRestart(Sender& sender, std::optional<Process>& host, const std::function<int()>& serve,
                            Log& log) {
  host->Signal(SIGKILL);
  host.reset();
  log.first_at = 0;
  log.frames = 0;
  const uint64_t connections = sender.connections();
  host.emplace(Process::Fork(serve));
  REQUIRE(sender.SendUntil([&] { return sender.connections() > connections; }));
  const int64_t connected_at = absl::GetCurrentTimeNanos();
  REQUIRE(sender.SendUntil([&] { return log.frames > 1000; }));
  return absl::Nanoseconds(log.first_at - connected_at);
}

TEST_CASE("a host that was killed and came again takes what its guest sends", "[vhost]") {
  constexpr size_t kKills = std::min<size_t>(kMostKinds, 10);
  const TempFolder folder;
  const auto log = MakeLog();
  const auto serve = [&] { return ServeForEver(folder.file("vhost"), *log); };
  std::optional<Process> host(Process::Fork(serve));
  Sender sender(folder.file("vhost"));
  REQUIRE(sender.SendUntil([&] { return log->frames > 1000; }));

  std::vector<absl::Duration> gaps;
  for (size_t i = 0; i < kKills; ++i) gaps.push_back(GapOfRestart(sender, host, serve, *log));
  std::sort(gaps.begin(), gaps.end());
  const auto came = [&](int times) { return std::count(log->times, log->times + sender.number(), times); };
  TellFigure(absl::StrCat("until it is heard again: ", absl::FormatDuration(gaps[kKills / 2]), ", at most ",
                          absl::FormatDuration(gaps.back()), "; of ", sender.number(), " frames ", came(0),
                          " not taken, ", came(2), " twice"));
  CHECK(gaps.back() < kPatience);
  CHECK(came(1) > 1000);
}

}  // namespace
}  // namespace sluice::testing
