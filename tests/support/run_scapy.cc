// SPDX-License-Identifier: Apache-2.0
#include "tests/support/run_scapy.h"

#include <stdexcept>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/support/process.h"
#include "tests/support/skip.h"

namespace sluice::testing {
namespace {

// The first python that has scapy: Debian's package serves Debian's python.
std::string PythonWithScapy() {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (RunCommand(absl::StrCat(python, " -c 'import scapy'")).ok()) return python;
  }
  SkipTest("needs scapy: install python3-scapy");
}

}  // namespace

std::vector<std::string> RunScapy(const std::string& program) {
  const std::string command = absl::StrCat(PythonWithScapy(), " -B " SLUICE_SOURCE_DIR "/tests/", program);
  const CommandResult result = RunCommand(absl::StrCat(command, " 2>/dev/null"), nullptr, absl::Minutes(2));
  if (!result.ok()) throw std::runtime_error(absl::StrCat(command, " ended with status ", result.status));
  return absl::StrSplit(result.output, '\n', absl::SkipEmpty());
}

std::string ToHex(const Bytes& frame) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(frame.data()), frame.size()));
}

Bytes FromHex(absl::string_view digits) {
  const std::string bytes = absl::HexStringToBytes(digits);
  return Bytes(bytes.begin(), bytes.end());
}

}  // namespace sluice::testing
