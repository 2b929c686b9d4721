// SPDX-License-Identifier: Apache-2.0
// A host that is killed and started again, once, while its guest sends 100,000 frames a second. Prints the nanoseconds from the
// moment at which the guest was connected again until it was heard.

#include <cstdio>
#include <exception>

#include "tests/nic/killed_host.h"

int main() {
  try {
    std::printf("nanoseconds %.0f\n", absl::ToDoubleNanoseconds(sluice::testing::KilledHost().Restart()));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
