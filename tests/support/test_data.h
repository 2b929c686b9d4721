// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_TEST_DATA_H_
#define SLUICE_TESTS_SUPPORT_TEST_DATA_H_

#include <string>
#include <vector>

namespace sluice::testing {

// The folder of real captures and rule sets: $SLUICE_TEST_DATA, else ../shared/data beside the source tree,
// else empty.
std::string TestDataRoot();

// The regular files directly in `folder` under the root, sorted by name.
std::vector<std::string> TestDataFiles(const std::string& folder);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_TEST_DATA_H_
