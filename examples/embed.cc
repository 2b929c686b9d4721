// SPDX-License-Identifier: Apache-2.0
// A program with an epoll loop of its own takes sluice in: one descriptor to watch, one call when it is readable. Here the
// program's own event is a timer that injects a frame every 10 ms; in yours it is whatever you have. Needs no root.
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "sluice/control/engine.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"

using namespace sluice;

namespace {

constexpr int kFrames = 20;

// A port of the engine, and the NIC at the other end of its cable, which plays the guest.
std::unique_ptr<Nic> AddGuest(Engine& engine, PacketPool& pool, const char* name) {
  auto [here, there] = MakeWirePair();
  auto guest = ModelNic::Open({.name = name}, std::move(there)).value();
  if (!guest->Start({.pool = &pool}).ok()) return nullptr;
  auto port = ModelNic::Open({.name = std::string("to ") + name}, std::move(here)).value();
  if (!engine.AddPort(std::move(port), {.switching = {.name = name}}).ok()) return nullptr;
  return guest;
}

void SendBroadcast(Nic& guest, PacketPool& pool) {
  Burst burst;
  pool.Get(burst, 1);
  std::memset(burst[0].data(), 0xff, 6);
  std::memset(burst[0].data() + 6, 0x02, 54);
  burst[0].SetLength(60);
  guest.tx(QueueId{0}).Send(burst);
}

int EveryTenMilliseconds() {
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  const itimerspec period = {.it_interval = {0, 10'000'000}, .it_value = {0, 10'000'000}};
  timerfd_settime(timer, 0, &period, nullptr);
  return timer;
}

void Watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

int main() {
  auto pool = PacketPool::Create({.packets = 8192}).value();
  auto engine = Engine::Create({.pool = pool.get()}).value();
  auto alice = AddGuest(*engine, *pool, "alice");
  auto bob = AddGuest(*engine, *pool, "bob");
  if (alice == nullptr || bob == nullptr) return 1;
  Worker& worker = engine->worker(WorkerId{0});

  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int timer = EveryTenMilliseconds();
  Watch(epoll, timer);
  Watch(epoll, worker.fd());

  Burst arrived;
  for (int sent = 0; sent < kFrames;) {
    while (!worker.PrepareToSleep()) worker.PollOnce();  // never sleep on a waiting packet
    epoll_event event{};
    if (epoll_wait(epoll, &event, 1, worker.needs_tick() ? 1 : -1) == 1 && event.data.fd == timer) {
      uint64_t ticks = 0;
      if (read(timer, &ticks, sizeof(ticks)) == sizeof(ticks)) SendBroadcast(*alice, *pool), ++sent;
    }
    worker.PollOnce();
    bob->rx(QueueId{0}).Receive(arrived);
  }
  std::printf("bob got %zu of %d frames; the worker slept %zu times\n", arrived.size(), kFrames,
              static_cast<size_t>(worker.stats().sleeps));
  std::fputs(ToText(engine->snapshot()).c_str(), stdout);
  close(timer);
  close(epoll);
  return arrived.size() == kFrames ? 0 : 1;
}
