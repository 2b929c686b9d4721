// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_SEED_H_
#define SLUICE_TESTS_SUPPORT_SEED_H_

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace sluice::testing {

using Random = std::mt19937_64;

// The seed of a property test: SLUICE_TEST_SEED where set, else a fresh one. Printed, so that a failure can
// be played again.
inline uint64_t PrintedSeed() {
  const char* given = std::getenv("SLUICE_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
  const std::string test = Catch::getResultCapture().getCurrentTestName();
  std::printf("SLUICE_TEST_SEED=%llu: %s\n", static_cast<unsigned long long>(seed), test.c_str());
  std::fflush(stdout);  // before a fork of the test could print it again
  return seed;
}

// Uniform in [0, bound).
inline uint64_t Below(Random& random, uint64_t bound) {
  return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random);
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_SEED_H_
