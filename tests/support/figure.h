// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_FIGURE_H_
#define SLUICE_TESTS_SUPPORT_FIGURE_H_

#include <cstdio>
#include <string>

namespace sluice::testing {

// Tells what a test measured and holds nobody to, for the machine may have other things to do.
inline void TellFigure(const std::string& figure) {
  std::printf("FIGURE: %s\n", figure.c_str());
  std::fflush(stdout);
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FIGURE_H_
