// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_RUN_SCAPY_H_
#define SLUICE_TESTS_SUPPORT_RUN_SCAPY_H_

// Programs that make frames, and judge them, with scapy: a library of protocols that nobody here wrote.

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// The lines that a program of tests/ prints: RunScapy("packet/scapy_frames.py 7 300"). Skips the test where there is no
// scapy; fails it when the program does.
std::vector<std::string> RunScapy(const std::string& program);

// Frames cross as hexadecimal digits.
std::string ToHex(const Bytes& frame);
Bytes FromHex(absl::string_view digits);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_RUN_SCAPY_H_
