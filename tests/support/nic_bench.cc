// SPDX-License-Identifier: Apache-2.0
#include "tests/support/nic_bench.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "absl/time/clock.h"
#include "sluice/packet/headers.h"

namespace sluice::testing {
namespace {

// IEEE 802 numbers: "Local Experimental Ethertype 1". No kernel answers it.
constexpr Ethertype kExperimental{0x88b5};
constexpr uint32_t kMagic = 0x51a1ce00;

struct NumberHeader {
  EthernetHeader ethernet;
  Be32 magic;
  Be32 number;
};

uint8_t Pattern(uint32_t number, size_t i) { return static_cast<uint8_t>(number * 7 + i); }

std::unique_ptr<PacketPool> MakePool(const PacketPoolOptions& options) {
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create(options);
  if (!pool.ok()) throw std::runtime_error(pool.status().ToString());
  return *std::move(pool);
}

}  // namespace

Numbers Consecutive(uint32_t first, size_t count) {
  Numbers numbers(count);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

void NumberFrame(Packet& packet, uint32_t number, uint32_t length, MacAddress to) {
  auto* const header = HeaderAt<NumberHeader>(packet.data(), 0);
  header->ethernet.destination = to;
  header->ethernet.source = MacAddress({2, 0x51, 0xa1, 0xce, 0, 1});
  header->ethernet.type = kExperimental;
  header->magic = kMagic;
  header->number = number;
  for (size_t i = sizeof(NumberHeader); i < length; ++i) packet.data()[i] = Pattern(number, i);
  packet.SetLength(length);
}

bool IsNumbered(const Packet& packet, uint32_t& number) {
  std::vector<uint8_t> frame(packet.length());
  if (frame.size() < sizeof(NumberHeader) || !packet.CopyOut(0, packet.length(), frame.data())) return false;
  const auto* const header = HeaderAt<NumberHeader>(frame.data(), 0);
  if (header->ethernet.type.get() != kExperimental || header->magic.get() != kMagic) return false;
  number = header->number.get();
  for (size_t i = sizeof(NumberHeader); i < frame.size(); ++i) {
    if (frame[i] != Pattern(number, i)) FAIL("frame " << number << " is damaged at byte " << i);
  }
  return true;
}

NicBench::NicBench(const Subject& subject)
    : subject_(subject),
      pool_a_(MakePool(subject.pool)),
      pool_b_(MakePool(subject.pool)),
      rig_(subject.open()) {}

NicBench::~NicBench() {
  Stop();
  rig_.a.reset();
  rig_.b.reset();
  CheckAllHome();
}

void NicBench::CheckAllHome() {
  CHECK(pool_a_->available() == pool_a_->options().packets);
  CHECK(pool_b_->available() == pool_b_->options().packets);
}

QueueOptions NicBench::OptionsA() const {
  return {.rx_queues = subject_.rx_queues,
          .rx_ring = subject_.ring,
          .tx_ring = subject_.ring,
          .pool = pool_a_.get(),
          .port = PortId{3}};
}
QueueOptions NicBench::OptionsB() const {
  QueueOptions options = OptionsA();
  options.pool = pool_b_.get();
  options.port = PortId{4};
  return options;
}

void NicBench::Start(const QueueOptions& a, const QueueOptions& b) {
  REQUIRE(rig_.a->Start(a) == absl::OkStatus());
  if (!has_peer()) return;
  REQUIRE(rig_.b->Start(b) == absl::OkStatus());
  REQUIRE(Until([this] { return rig_.a->link() == LinkState::kUp && rig_.b->link() == LinkState::kUp; }));
}

void NicBench::Stop() {
  if (rig_.a != nullptr) CHECK(rig_.a->Stop() == absl::OkStatus());
  if (rig_.b != nullptr) CHECK(rig_.b->Stop() == absl::OkStatus());
}

Burst NicBench::Frames(uint32_t first, size_t count, uint32_t length) {
  Burst burst;
  REQUIRE(pool_a_->Get(burst, count) == count);
  const MacAddress to = has_peer() ? rig_.b->mac() : MacAddress();
  for (size_t i = 0; i < count; ++i) NumberFrame(burst[i], first + static_cast<uint32_t>(i), length, to);
  return burst;
}

void NicBench::SendAll(uint32_t first, size_t count, uint32_t length) {
  for (size_t done = 0; done < count;) {
    const size_t some = std::min(count - done, Burst::kCapacity);
    Burst burst = Frames(first + static_cast<uint32_t>(done), some, length);
    REQUIRE(Until([&] {
      if (rig_.a->tx(QueueId{0}).Send(burst) == 0) PollB();
      return burst.empty();
    }));
    done += some;
  }
}

void NicBench::PollB() {
  Burst burst;
  for (uint16_t i = 0; i < rig_.b->rx_count(); ++i) {
    rig_.b->rx(QueueId{i}).Receive(burst);
    for (uint32_t number; !burst.empty(); burst.PopFront()) {
      if (IsNumbered(burst[0], number)) received_.push_back(number);
    }
  }
}

Numbers NicBench::Collect(size_t count) {
  Until([&] {
    PollB();
    rig_.a->tx(QueueId{0}).Reclaim();
    return received_.size() >= count;
  });
  return std::exchange(received_, {});
}

bool NicBench::Until(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + subject_.patience;
  while (!done()) {
    if (absl::Now() > deadline) return done();
    Serve();
  }
  return true;
}

// What a Nic leaves to its host: a peer that comes, a link that changes, and sends that are not done.
void NicBench::Serve() {
  if (rig_.a->running() && rig_.a->tx(QueueId{0}).due() != absl::InfiniteDuration())
    rig_.a->tx(QueueId{0}).Reclaim();
  for (NicEvent& event : rig_.a->TakeEvents()) events_.push_back(std::move(event));
  if (has_peer()) rig_.b->TakeEvents();
}

std::vector<NicEvent> NicBench::TakeEvents() {
  Serve();
  return std::exchange(events_, {});
}

Numbers SendFromPeer(NicBench& bench, uint32_t first, size_t count) {
  Numbers numbers;
  Burst burst;
  REQUIRE(bench.pool_b().Get(burst, count) == count);
  for (size_t i = 0; i < count; ++i) {
    NumberFrame(burst[i], first + static_cast<uint32_t>(i), kNumberedLength, bench.a().mac());
  }
  bench.Until([&] {
    bench.b().tx(QueueId{0}).Send(burst);
    Burst arrived;
    bench.a().rx(QueueId{0}).Receive(arrived);
    for (uint32_t number; !arrived.empty(); arrived.PopFront()) {
      if (IsNumbered(arrived[0], number)) numbers.push_back(number);
    }
    return numbers.size() >= count;
  });
  return numbers;
}

}  // namespace sluice::testing
