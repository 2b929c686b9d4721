// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/killed_host.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "absl/time/clock.h"
#include "sluice/nic/vhost_nic.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/virtio_user_nic.h"

namespace sluice::testing {
namespace {

constexpr int64_t kFramesPerSecond = 100'000;
constexpr uint32_t kMostFrames = 4'000'000;
constexpr uint64_t kHeard = 1000;  // frames after which a host is taken to work
constexpr size_t kNumberAt = 14;   // behind the Ethernet header, 8 bytes
constexpr absl::Duration kPatience = absl::Minutes(1);

std::unique_ptr<PacketPool> Pool() {
  return *PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff});
}

}  // namespace

// What hosts have seen, in memory that they share with the test.
struct KilledHost::Log {
  std::atomic<int64_t> first_at{0};              // of the host that runs now, in nanoseconds; 0: nothing yet
  std::atomic<uint64_t> frames{0};               // of the host that runs now
  std::atomic<uint8_t> times[kMostFrames] = {};  // that each frame came

  static Log* Make() {
    void* const memory =
        mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return new (memory) Log;
  }

  void Note(const Packet& packet) {
    uint64_t number = kMostFrames;
    if (packet.length() >= kNumberAt + sizeof(number)) {
      std::memcpy(&number, packet.data() + kNumberAt, sizeof(number));
    }
    if (number < kMostFrames) ++times[number];
    ++frames;
    if (first_at == 0) first_at = absl::GetCurrentTimeNanos();
  }
};

void KilledHost::Unmap::operator()(Log* log) const { munmap(log, sizeof(Log)); }

// A guest that sends at its pace whether anybody takes it or not, as a card on a wire would.
class KilledHost::Sender {
 public:
  explicit Sender(const std::string& path) : pool_(Pool()), guest_({.path = path}) {
    if (!guest_.Start({.pool = pool_.get()}).ok()) throw std::runtime_error("no guest");
  }
  absl::Status Stop() { return guest_.Stop(); }

  // Sends until `done` says so. What cannot be sent at its time is lost.
  template <typename Done>
  void SendUntil(const Done& done) {
    const absl::Time begun = absl::Now();
    const uint64_t before = number_;
    while (!done()) {
      if (absl::Now() > begun + kPatience || number_ + Burst::kCapacity > kMostFrames) {
        throw std::runtime_error("a host does not take what its guest sends");
      }
      (void)guest_.TakeEvents();
      const auto due = static_cast<uint64_t>(absl::ToInt64Microseconds(absl::Now() - begun) *
                                             kFramesPerSecond / 1'000'000);
      SendSome(std::min<uint64_t>(due - std::min(due, number_ - before), Burst::kCapacity));
    }
  }
  uint64_t connections() { return guest_.front().connections(); }
  uint64_t number() const { return number_; }

 private:
  void SendSome(uint64_t count) {
    Burst burst;
    pool_->Get(burst, count);
    for (Packet* packet : burst) {
      std::memset(packet->data(), 0x88, 60);
      std::memcpy(packet->data() + kNumberAt, &number_, sizeof(number_));
      packet->SetLength(60);
      ++number_;
    }
    if (!burst.empty()) guest_.tx(QueueId{0}).Send(burst);
  }

  const std::unique_ptr<PacketPool> pool_;
  VirtioUserNic guest_;
  uint64_t number_ = 0;
};

KilledHost::KilledHost() : log_(Log::Make()), host_(Process::Fork([this] { return Serve(); })) {
  sender_ = std::make_unique<Sender>(folder_.file("vhost"));
  sender_->SendUntil([this] { return log_->frames > kHeard; });
}

KilledHost::~KilledHost() = default;

// A host, in a process of its own, for ever.
int KilledHost::Serve() {
  const std::unique_ptr<PacketPool> pool = Pool();
  const std::unique_ptr<VhostNic> port = *OpenVhostNic({.path = folder_.file("vhost")});
  if (!port->Start({.pool = pool.get()}).ok()) return 1;
  Burst burst;
  for (;;) {
    (void)port->TakeEvents();
    port->rx(QueueId{0}).Receive(burst);
    for (const Packet* packet : burst) log_->Note(*packet);
    burst.Clear();
  }
}

absl::Duration KilledHost::Restart() {
  host_->Signal(SIGKILL);
  host_.reset();
  log_->first_at = 0;
  log_->frames = 0;
  const uint64_t connections = sender_->connections();
  host_.emplace(Process::Fork([this] { return Serve(); }));
  sender_->SendUntil([&] { return sender_->connections() > connections; });
  const int64_t connected_at = absl::GetCurrentTimeNanos();
  sender_->SendUntil([this] { return log_->frames > kHeard; });
  return absl::Nanoseconds(log_->first_at - connected_at);
}

absl::Status KilledHost::Stop() { return sender_->Stop(); }

uint64_t KilledHost::sent() const { return sender_->number(); }

std::array<uint64_t, 4> KilledHost::came() const {
  std::array<uint64_t, 4> frames{};
  for (uint64_t i = 0; i < sent(); ++i) ++frames[std::min<size_t>(log_->times[i], frames.size() - 1)];
  return frames;
}

}  // namespace sluice::testing
