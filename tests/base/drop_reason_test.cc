// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/drop_reason.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace sluice {
namespace {

TEST_CASE("every drop reason has a name of its own, fit for tables and metrics") {
  std::set<std::string> names;
  for (size_t i = 0; i < kDropReasonCount; ++i) {
    const std::string name(Name(static_cast<DropReason>(i)));
    CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == std::string::npos);
    CHECK(name != "unknown");
    CHECK(names.insert(name).second);
  }
}

TEST_CASE("every drop reason says what happened and, after a semicolon, what to do") {
  std::set<std::string> meanings;
  for (size_t i = 0; i < kDropReasonCount; ++i) {
    const std::string meaning(Meaning(static_cast<DropReason>(i)));
    INFO(meaning);
    const size_t semicolon = meaning.find("; ");
    CHECK(semicolon != std::string::npos);
    CHECK(semicolon + 10 < meaning.size());
    CHECK(meanings.insert(meaning).second);
  }
}

TEST_CASE("a reason from a newer version is named unknown") {
  CHECK(Name(static_cast<DropReason>(kDropReasonCount)) == "unknown");
  CHECK(Name(static_cast<DropReason>(255)) == "unknown");
}

TEST_CASE("the numbers of reasons that are saved with state do not move") {
  CHECK(static_cast<int>(DropReason::kNoBuffer) == 0);
  CHECK(static_cast<int>(DropReason::kLinkDown) == 4);
  CHECK(static_cast<int>(DropReason::kMalformed) == 7);
  CHECK(static_cast<int>(DropReason::kRule) == 14);
  CHECK(static_cast<int>(DropReason::kStopped) == 18);
}

TEST_CASE("counts add up reason by reason") {
  DropCounts a;
  a[DropReason::kRule] = 3;
  DropCounts b;
  b[DropReason::kRule] = 4;
  b[DropReason::kStopped] = 5;

  a += b;

  CHECK(a[DropReason::kRule] == 7);
  CHECK(a[DropReason::kStopped] == 5);
  CHECK(a.total() == 12);
}

}  // namespace
}  // namespace sluice
