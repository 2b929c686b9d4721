// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/clock.h"

#include <catch2/catch.hpp>
#include <ctime>

#include "base/coarse_clock_internal.h"

namespace sluice {
namespace {

Nanoseconds KernelNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<Nanoseconds>(now.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(now.tv_nsec);
}

TEST_CASE("a manual clock stands still until it is told") {
  ManualClock clock;
  const Nanoseconds start = clock.Now();
  CHECK(clock.Now() == start);
  clock.Advance(absl::Milliseconds(3));
  CHECK(clock.Now() == start + 3'000'000);
  clock.Advance(absl::Nanoseconds(1));
  CHECK(clock.Now() == start + 3'000'001);
}

TEST_CASE("the monotonic clock is the kernel's, in nanoseconds") {
  const Nanoseconds before = KernelNow();
  const Nanoseconds ours = Clock::Monotonic().Now();
  const Nanoseconds after = KernelNow();
  CHECK(before <= ours);
  CHECK(ours <= after);
}

TEST_CASE("there is one monotonic clock for the whole process") {
  CHECK(&Clock::Monotonic() == &Clock::Monotonic());
}

TEST_CASE("the coarse time of the monotonic clock is its own of a moment ago") {
  const Nanoseconds first = CoarseNow(Clock::Monotonic());
  const Nanoseconds now = Clock::Monotonic().Now();
  CHECK(first <= now);
  CHECK(now - first < 1'000'000'000);
  CHECK(CoarseNow(Clock::Monotonic()) >= first);
}

TEST_CASE("any other clock has no coarse time but its own") {
  ManualClock clock;
  clock.Advance(absl::Seconds(7));
  CHECK(CoarseNow(clock) == 7'000'000'000);
}

}  // namespace
}  // namespace sluice
