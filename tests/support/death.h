// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_DEATH_H_
#define SLUICE_TESTS_SUPPORT_DEATH_H_

#include <functional>
#include <string>

namespace sluice::testing {

// Runs `deed` in a forked child and returns what the child wrote to standard error before a signal, or a
// sanitizer, ended it; "survived" when it lived to the end. Call it while no other thread runs.
std::string LastWords(const std::function<void()>& deed);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_DEATH_H_
