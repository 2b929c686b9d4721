// SPDX-License-Identifier: Apache-2.0
// Who turns marks on does not go on before a poll that does not tell them is over.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "nic/verbs/mark_switch_internal.h"

namespace sluice {
namespace {

TEST_CASE("polls tell marks from when they were turned on until they are turned off") {
  VerbsMarkSwitch marks;
  CHECK_FALSE(marks.BeginPoll());
  marks.EndPoll();
  marks.TurnOn();
  CHECK(marks.BeginPoll());
  CHECK(marks.BeginPoll());
  marks.TurnOff();
  CHECK_FALSE(marks.BeginPoll());
}

TEST_CASE("no poll without marks is under way once they were turned on") {
  int late = 0;
  for (int round = 0; round < 200; ++round) {
    VerbsMarkSwitch marks;
    std::atomic<bool> ready{false}, without{false}, done{false};
    std::thread polling([&] {
      while (!done.load(std::memory_order_relaxed)) {
        if (marks.BeginPoll()) continue;
        without.store(true, std::memory_order_relaxed);
        ready.store(true, std::memory_order_relaxed);
        without.store(false, std::memory_order_relaxed);
        marks.EndPoll();
      }
    });
    while (!ready.load(std::memory_order_relaxed)) std::this_thread::yield();
    marks.TurnOn();
    for (int i = 0; i < 100; ++i) late += without.load(std::memory_order_relaxed) ? 1 : 0;
    done.store(true, std::memory_order_relaxed);
    polling.join();
  }
  CHECK(late == 0);
}

}  // namespace
}  // namespace sluice
