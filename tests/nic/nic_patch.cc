// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/nic_patch.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace sluice::testing {
namespace {

// What is under way inside a Nic is looked after for some turns, and what waits for room to the end.
constexpr int kNapMilliseconds = 5;
constexpr int kDrowsyTurns = 3;
constexpr int kTurnsBetweenServing = 64;

}  // namespace

NicPatch::NicPatch(Nic& a, Nic& b)
    : ways_{{.from = a, .to = b}, {.from = b, .to = a}}, nudge_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  for (Way& way : ways_) way.waiting.resize(way.from.rx_count());
  thread_ = std::thread([this] { Run(); });
}

NicPatch::~NicPatch() {
  stop_ = true;
  (void)eventfd_write(nudge_.get(), 1);
  thread_.join();
}

void NicPatch::Do(const std::function<void()>& work) {
  work_ = &work;
  (void)eventfd_write(nudge_.get(), 1);
  while (work_ != nullptr) work_.wait(&work);
}

std::string NicPatch::EventsSoFar() {
  std::string copy;
  Do([&] { copy = events_; });
  return copy;
}

void NicPatch::Run() {
  for (int turn = 0; !stop_; ++turn) {
    if (turn % kTurnsBetweenServing == 0) Serve();
    idle_ = Carry(ways_[0]) + Carry(ways_[1]) == 0 ? std::min(idle_ + 1, kDrowsyTurns) : 0;
    if (idle_ == 0) continue;
    Serve();
    Sleep();
  }
}

void NicPatch::Serve() {
  for (const Way& way : ways_) {
    for (const NicEvent& event : way.from.TakeEvents()) {
      absl::StrAppend(&events_, way.from.name(), " ", static_cast<int>(event.kind), " ", event.detail, "\n");
    }
  }
  if (const std::function<void()>* const work = work_.load()) {
    (*work)();
    work_ = nullptr;
    work_.notify_all();
  }
}

// What the other side has no room for waits, and holds up what comes behind it.
size_t NicPatch::Carry(Way& way) {
  size_t moved = 0;
  for (uint16_t i = 0; i < way.from.rx_count(); ++i) {
    Burst& burst = way.waiting[i];
    if (burst.empty()) {
      way.from.rx(QueueId{i}).Receive(burst);
      for (const Packet* packet : burst) longest_ = std::max<uint32_t>(longest_, packet->length());
    }
    TxQueue& tx = way.to.tx(QueueId{static_cast<uint16_t>(i % way.to.tx_count())});
    moved += burst.empty() ? 0 : tx.Send(burst);
    tx.Reclaim();
  }
  return moved;
}

void NicPatch::Sleep() {
  std::vector<pollfd> wakers = {{.fd = nudge_.get(), .events = POLLIN, .revents = 0}};
  bool naps = idle_ < kDrowsyTurns;
  for (const Way& way : ways_) {
    wakers.push_back({.fd = way.from.event_fd(), .events = POLLIN, .revents = 0});
    for (uint16_t i = 0; i < way.from.rx_count(); ++i) {
      naps = naps || !way.waiting[i].empty();
      if (!way.waiting[i].empty()) continue;
      if (!way.from.rx(QueueId{i}).Arm()) return;
      wakers.push_back({.fd = way.from.rx(QueueId{i}).fd(), .events = POLLIN, .revents = 0});
    }
  }
  ++sleeps_;
  poll(wakers.data(), wakers.size(), naps ? kNapMilliseconds : -1);
  eventfd_t nudged = 0;
  (void)eventfd_read(nudge_.get(), &nudged);
}

}  // namespace sluice::testing
