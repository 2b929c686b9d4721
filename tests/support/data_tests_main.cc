// SPDX-License-Identifier: Apache-2.0
#include "tests/support/requirement_main.h"
#include "tests/support/test_data.h"

namespace {

std::string MissingData() {
  if (!sluice::testing::TestDataRoot().empty()) return "";
  return "no capture and rule files: put them in ../shared/data, or name their folder in SLUICE_TEST_DATA";
}

}  // namespace

int main(int argc, char** argv) { return sluice::testing::MainUnless(MissingData, argc, argv); }
