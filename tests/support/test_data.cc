// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_data.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace sluice::testing {

std::string TestDataRoot() {
  const char* named = std::getenv("SLUICE_TEST_DATA");
  const std::filesystem::path root = named != nullptr
                                         ? std::filesystem::path(named)
                                         : std::filesystem::path(SLUICE_SOURCE_DIR) / "../shared/data";
  std::error_code ignored;
  return std::filesystem::is_directory(root, ignored) ? root.string() : "";
}

std::vector<std::string> TestDataFiles(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(TestDataRoot()) / folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace sluice::testing
