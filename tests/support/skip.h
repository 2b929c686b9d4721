// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_SKIP_H_
#define SLUICE_TESTS_SUPPORT_SKIP_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace sluice::testing {

// Ends the test program as skipped, with the reason, as tests/CMakeLists.txt and tests/skipped.sh know it. For a test that needs a
// program which the machine may lack; CTest runs each test in a process of its own.
[[noreturn]] inline void SkipTest(const std::string& reason) {
  std::printf("SKIPPED: %s\n", reason.c_str());
  std::fflush(stdout);
  std::_Exit(77);
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_SKIP_H_
