// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_REQUIREMENT_MAIN_H_
#define SLUICE_TESTS_SUPPORT_REQUIREMENT_MAIN_H_

// The main() of test programs that need something which a machine may lack. Where it is missing, the reason
// is printed and the exit status is 77, which CTest reports as skipped; listing the tests always works.

#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

namespace sluice::testing {

inline constexpr int kSkipped = 77;

// `missing` answers what is absent, or an empty string when the tests can run.
inline int MainUnless(std::string (*missing)(), int argc, char** argv) {
  Catch::Session session;
  if (const int error = session.applyCommandLine(argc, argv)) return error;
  const Catch::ConfigData& config = session.configData();
  const bool listing =
      config.listTests || config.listTestNamesOnly || config.listTags || config.listReporters;
  if (const std::string what = missing(); !listing && !what.empty()) {
    std::printf("SKIPPED: %s\n", what.c_str());
    return kSkipped;
  }
  return session.run();
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_REQUIREMENT_MAIN_H_
