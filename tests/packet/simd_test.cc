// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "packet/simd_internal.h"
#include "tests/packet/simd_levels.h"

namespace sluice {
namespace {

using namespace sluice::testing;

int Scalar(int x) { return x; }
int Avx2(int x) { return x + 100; }
int IceLake(int x) { return x + 300; }

TEST_CASE("a level without a variant of its own takes the best one below") {
  const Dispatch<int(int)> all({.scalar = &Scalar, .avx2 = &Avx2, .icelake = &IceLake});
  CHECK(all.At(SimdLevel::kScalar) == &Scalar);
  CHECK(all.At(SimdLevel::kAvx2) == &Avx2);
  CHECK(all.At(SimdLevel::kAvx512) == &Avx2);
  CHECK(all.At(SimdLevel::kIceLake) == &IceLake);
  const Dispatch<int(int)> one({.scalar = &Scalar});
  for (const SimdLevel level : SimdLevelsHere()) CHECK(one.At(level) == &Scalar);
}

TEST_CASE("a call goes to the best variant that this processor has, the first and every later time") {
  Dispatch<int(int)> function({.scalar = &Scalar, .avx2 = &Avx2, .icelake = &IceLake});
  const int expected = function.At(BestSimdLevel())(7);
  CHECK(function(7) == expected);
  CHECK(function(7) == expected);
}

TEST_CASE("this processor's level is the same whenever it is asked, and has all below it") {
  CHECK(BestSimdLevel() == BestSimdLevel());
  CHECK(SimdLevelsHere().front() == SimdLevel::kScalar);
  CHECK(SimdLevelsHere().back() == BestSimdLevel());
}

TEST_CASE("a limit keeps calls below it, but those that have chosen") {
  Dispatch<int(int)> before({.scalar = &Scalar, .avx2 = &Avx2, .icelake = &IceLake});
  const int best = before(7);
  LimitSimdLevel(SimdLevel::kScalar);
  Dispatch<int(int)> after({.scalar = &Scalar, .avx2 = &Avx2, .icelake = &IceLake});
  const SimdLevel limited = BestSimdLevel();
  const int below = after(7);
  const int same = before(7);
  LimitSimdLevel(SimdLevel::kIceLake);

  CHECK(limited == SimdLevel::kScalar);
  CHECK(below == Scalar(7));
  CHECK(same == best);
}

}  // namespace
}  // namespace sluice
