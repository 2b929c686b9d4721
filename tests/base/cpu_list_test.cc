// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/cpu_list.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using testing::Below;
using testing::PrintedSeed;
using testing::Random;

std::vector<CpuId> Cpus(std::initializer_list<uint16_t> numbers) {
  std::vector<CpuId> cpus;
  for (const uint16_t number : numbers) cpus.emplace_back(number);
  return cpus;
}

TEST_CASE("the kernel's lists are read as sorted sets") {
  const std::pair<const char*, std::vector<CpuId>> rows[] = {
      {"", {}},
      {"0", Cpus({0})},
      {"0-3,7", Cpus({0, 1, 2, 3, 7})},
      {"7,0-3", Cpus({0, 1, 2, 3, 7})},
      {"2-4,3-5,4", Cpus({2, 3, 4, 5})},
      {"5-5", Cpus({5})},
      {"65535", Cpus({65535})},
      {"007", Cpus({7})},
  };
  for (const auto& [text, cpus] : rows) {
    INFO(text);
    REQUIRE(ParseCpuList(text).ok());
    CHECK(*ParseCpuList(text) == cpus);
  }
  CHECK(ParseCpuList("0-65535")->size() == 65536);
}

TEST_CASE("whatever is no list is refused, naming the place") {
  const std::pair<const char*, const char*> rows[] = {
      {",", "character 1 "},     {"1,", "character 3 "},      {"1,,2", "character 3 "},
      {"-", "character 1 "},     {"1-", "character 3 "},      {"-1", "character 1 "},
      {"3-1", "runs backwards"}, {"65536", "up to 65535"},    {"0-65536", "up to 65535"},
      {"1 ", "character 2 "},    {"0-3:2/8", "character 4 "}, {"a", "character 1 "},
      {"0x1", "character 2 "},   {"1-2-3", "character 4 "},   {"99999999999999999999", "up to 65535"},
      {"1\n", "character 2 "},
  };
  for (const auto& [text, place] : rows) {
    INFO(text);
    const absl::Status status = ParseCpuList(text).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains(place));
    CHECK(ProblemOf(status).has_value());
  }
}

TEST_CASE("lists are written in the shortest form") {
  CHECK(FormatCpuList({}) == "");
  CHECK(FormatCpuList(Cpus({7, 2, 1, 0, 3, 2})) == "0-3,7");
  CHECK(FormatCpuList(Cpus({1, 3, 5})) == "1,3,5");
  CHECK(FormatCpuList(Cpus({65534, 65535})) == "65534-65535");
}

TEST_CASE("writing a list and reading it again gives the same set") {
  Random random(PrintedSeed());
  for (int round = 0; round < 300; ++round) {
    const uint64_t range = Below(random, 2) == 0 ? 16 : 65536;
    std::vector<CpuId> cpus;
    for (uint64_t n = Below(random, 40); n > 0; --n)
      cpus.emplace_back(static_cast<uint16_t>(Below(random, range)));

    const std::string text = FormatCpuList(cpus);

    std::sort(cpus.begin(), cpus.end());
    cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
    INFO(text);
    REQUIRE(ParseCpuList(text).ok());
    CHECK(*ParseCpuList(text) == cpus);
    CHECK(FormatCpuList(*ParseCpuList(text)) == text);
  }
}

TEST_CASE("random text is read or refused, and what is read stays the same when written") {
  Random random(PrintedSeed());
  const std::string letters = "0123456789,,--: x";
  for (int round = 0; round < 2'000; ++round) {
    std::string text;
    for (uint64_t n = Below(random, 12); n > 0; --n) text += letters[Below(random, letters.size())];
    const absl::StatusOr<std::vector<CpuId>> cpus = ParseCpuList(text);
    if (cpus.ok()) CHECK(*ParseCpuList(FormatCpuList(*cpus)) == *cpus);
  }
}

}  // namespace
}  // namespace sluice
