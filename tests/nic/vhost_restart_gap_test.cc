// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/nic/killed_host.h"
#include "tests/support/figure.h"
#include "tests/support/guest.h"

namespace sluice::testing {
namespace {

TEST_CASE("a host that was killed and came again takes what its guest sends", "[vhost]") {
  constexpr size_t kKills = std::min<size_t>(kMostKinds, 10);
  KilledHost host;
  std::vector<absl::Duration> gaps;
  for (size_t i = 0; i < kKills; ++i) gaps.push_back(host.Restart());
  std::sort(gaps.begin(), gaps.end());
  const auto [never, once, twice, oftener] = host.came();
  TellFigure(absl::StrCat("until it is heard again: ", absl::FormatDuration(gaps[kKills / 2]), ", at most ",
                          absl::FormatDuration(gaps.back()), "; of ", host.sent(), " frames ", never,
                          " not taken, ", twice, " twice"));
  CHECK(gaps.back() < absl::Minutes(1));
  CHECK(once > 1000);
  CHECK(oftener == 0);
  CHECK(host.Stop() == absl::OkStatus());
}

}  // namespace
}  // namespace sluice::testing
