// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/saved_state.h"

#include <catch2/catch.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "sluice/base/status.h"
#include "tests/support/sample_state.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using testing::AppendRecord;
using testing::Below;
using testing::PrintedSeed;
using testing::Random;
using testing::SampleState;
using testing::Unwrapped;
using testing::Wrapped;

std::vector<uint8_t> RandomBytes(Random& random, size_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

SampleState RandomState(Random& random, int depth) {
  SampleState state;
  state.wide = random() >> Below(random, 64);
  state.narrow = static_cast<uint8_t>(random());
  state.signed_wide = static_cast<int64_t>(random()) >> Below(random, 64);
  state.signed_narrow = static_cast<int16_t>(random());
  state.flag = Below(random, 2) == 1;
  state.port = PortId(static_cast<uint16_t>(random()));
  state.reason = static_cast<DropReason>(Below(random, kDropReasonCount));
  const std::vector<uint8_t> name = RandomBytes(random, Below(random, 20));
  state.name.assign(name.begin(), name.end());
  state.blob = RandomBytes(random, Below(random, 50));
  for (uint8_t& byte : state.address) byte = static_cast<uint8_t>(random());
  for (uint64_t n = depth > 0 ? Below(random, 4) : 0; n > 0; --n)
    state.children.push_back(RandomState(random, depth - 1));
  state.added_later = static_cast<uint32_t>(random());
  return state;
}

SampleState Family() {
  SampleState state{.wide = 5, .name = "parent", .blob = {1, 2, 3}};
  state.children = {{.wide = 6, .name = "first"}, {.wide = 7, .name = "second"}};
  return state;
}

SampleState Chain(int links) {
  SampleState state;
  if (links > 0) state.children.push_back(Chain(links - 1));
  return state;
}

std::string TextOf(const absl::Status& status) { return std::string(status.message()); }

TEST_CASE("what is saved is loaded again, and saved again as the same bytes") {
  Random random(PrintedSeed());
  for (int round = 0; round < 200; ++round) {
    const SampleState state = RandomState(random, 3);
    const std::vector<uint8_t> bytes = SaveState(state);
    const absl::StatusOr<SampleState> again = LoadState<SampleState>(bytes);
    INFO(again.status());
    REQUIRE(again.ok());
    CHECK(*again == state);
    CHECK(SaveState(*again) == bytes);
  }
}

TEST_CASE("numbers at the ends of their ranges are saved whole") {
  SampleState state;
  state.wide = UINT64_MAX;
  state.narrow = UINT8_MAX;
  state.signed_wide = INT64_MIN;
  state.signed_narrow = INT16_MIN;
  CHECK(LoadState<SampleState>(SaveState(state)).value() == state);
}

TEST_CASE("a state cut off anywhere is refused as damaged, and so is one with more behind it") {
  std::vector<uint8_t> bytes = SaveState(Family());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const absl::Status status = LoadState<SampleState>(absl::MakeConstSpan(bytes).first(length)).status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
  }
  bytes.push_back(0);
  CHECK(LoadState<SampleState>(bytes).status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("a state with any one bit turned is refused") {
  std::vector<uint8_t> bytes = SaveState(Family());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const auto mask = static_cast<uint8_t>(1U << (bit % 8));
    bytes[bit / 8] ^= mask;
    CHECK_FALSE(LoadState<SampleState>(bytes).ok());
    bytes[bit / 8] ^= mask;
  }
  CHECK(LoadState<SampleState>(bytes).ok());
}

TEST_CASE("damage with a right checksum is refused, or loads what can be saved and loaded again") {
  Random random(PrintedSeed());
  size_t loaded = 0;
  for (int round = 0; round < 3'000; ++round) {
    std::vector<uint8_t> section = Unwrapped(SaveState(RandomState(random, 2)));
    for (uint64_t n = 1 + Below(random, 3); n > 0; --n)
      section[Below(random, section.size())] ^= static_cast<uint8_t>(random());
    if (Below(random, 4) == 0) section.resize(Below(random, section.size()));
    const absl::StatusOr<SampleState> state = LoadState<SampleState>(Wrapped(section));
    if (!state.ok()) continue;
    ++loaded;
    CHECK(LoadState<SampleState>(SaveState(*state)).value() == *state);
  }
  CHECK(loaded > 0);  // else the checksum alone refused them all
}

TEST_CASE("the bytes of format 1 do not change") {
  StateWriter writer("ab", 0x0203);
  writer.Put(1, uint16_t{0x0405});
  writer.Put(2, int8_t{-2});
  writer.Put(3, true);
  writer.Put(4, "xyz");
  writer.Put(0x0506, std::vector<uint8_t>{0xFE, 0xFF});
  const std::vector<uint8_t> bytes = writer.Finish();
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string expected =
      "8a736c756963650a 0100 5200000000000000 "     // magic, format, length
      "02 6162 0302 "                               // name, version
      "0100 01 0800000000000000 0504000000000000 "  // each record: field, type, length, payload
      "0200 02 0800000000000000 feffffffffffffff "
      "0300 03 0100000000000000 01 "
      "0400 04 0300000000000000 78797a "
      "0605 05 0200000000000000 feff "
      "a23ca79e";  // checksum
  CHECK(absl::BytesToHexString(text) == absl::StrReplaceAll(expected, {{" ", ""}}));
}

TEST_CASE("the checksum is CRC-32C, and the wrapping as the header draws it") {
  const absl::string_view digits = "123456789";  // the check value of the CRC catalogue
  CHECK(testing::SlowCrc32c({reinterpret_cast<const uint8_t*>(digits.data()), digits.size()}) == 0xE3069283);
  const std::vector<uint8_t> bytes = SaveState(Family());
  CHECK(Wrapped(Unwrapped(bytes)) == bytes);
}

// A state of one number that can be told which version it is of.
template <uint16_t kVersion>
struct Numbered {
  uint64_t number = 0;
  uint16_t written_by = 0;

  static constexpr absl::string_view kStateName = "numbered";
  static constexpr uint16_t kStateVersion = kVersion;
  void Save(StateWriter& out) const { out.Put(1, number); }
  void Load(StateReader& in) {
    in.Read(1, number);
    written_by = in.version();
  }
};

TEST_CASE("a reader takes its own version and the one before it, and knows which it got") {
  CHECK(LoadState<Numbered<5>>(SaveState(Numbered<5>{.number = 9}))->written_by == 5);
  const absl::StatusOr<Numbered<5>> older = LoadState<Numbered<5>>(SaveState(Numbered<4>{.number = 9}));
  REQUIRE(older.ok());
  CHECK(older->written_by == 4);
  CHECK(older->number == 9);
}

TEST_CASE("newer versions and those too old are refused, saying which way to upgrade") {
  const absl::Status newer = LoadState<Numbered<5>>(SaveState(Numbered<6>{})).status();
  CHECK(newer.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(TextOf(newer),
             Catch::Contains("has version 6, readable are 5 and the one before it; upgrade this side"));
  const absl::Status old = LoadState<Numbered<5>>(SaveState(Numbered<3>{})).status();
  CHECK(old.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(TextOf(old), Catch::Contains("has version 3"));
  CHECK_THAT(TextOf(old), Catch::Contains("a release in between"));
  CHECK_FALSE(LoadState<Numbered<0>>(SaveState(Numbered<65535>{})).ok());

  const absl::Status format = LoadState<SampleState>(Wrapped(Unwrapped(SaveState(Family())), 2)).status();
  CHECK(format.code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("the state of another kind of object is refused by name") {
  const absl::Status status = LoadState<SampleState>(SaveState(Numbered<3>{})).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(TextOf(status), Catch::Contains("state sample: load: is the state of a \"numbered\""));
}

TEST_CASE("fields that this reader does not know are skipped, whatever their type") {
  std::vector<uint8_t> section = Unwrapped(SaveState(Family()));
  AppendRecord(section, 500, 1, {});
  AppendRecord(section, 501, 200, {});
  AppendRecord(section, 501, 0, std::vector<uint8_t>(100, 0xFF));
  CHECK(LoadState<SampleState>(Wrapped(section)).value() == Family());
}

// The section of a sample without field `left_out`, for a test to put a wrong one in its place.
std::vector<uint8_t> SectionWithout(uint16_t left_out) {
  const std::vector<uint8_t> whole = Unwrapped(SaveState(Family()));
  const size_t head = 1 + SampleState::kStateName.size() + 2;
  std::vector<uint8_t> section(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(head));
  for (size_t at = head; at < whole.size();) {
    const uint64_t length = whole[at + 3] + 256U * whole[at + 4];  // all are shorter than 64 KiB
    const auto record = absl::MakeConstSpan(whole).subspan(at, 11 + length);
    if (record[0] != left_out) section.insert(section.end(), record.begin(), record.end());
    at += record.size();
  }
  return section;
}

TEST_CASE("a mandatory field that is missing is refused, and an optional one keeps its default") {
  for (uint16_t field = 1; field <= 10; ++field) {
    const absl::Status status = LoadState<SampleState>(Wrapped(SectionWithout(field))).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(TextOf(status),
               Catch::Contains(absl::StrCat("state sample: load: field ", field, " is missing")));
  }
  CHECK(LoadState<SampleState>(Wrapped(SectionWithout(11)))->children.empty());
  CHECK(LoadState<SampleState>(Wrapped(SectionWithout(12)))->added_later == 7);
}

TEST_CASE("a field of another type, length or range than its reader's is refused") {
  struct Row {
    uint16_t field;
    StateType type;
    std::vector<uint8_t> payload;
    const char* what;
  };
  const std::vector<uint8_t> minus_one(8, 0xFF);
  const Row rows[] = {
      {1, StateType::kSigned, minus_one, "field 1 is of another type"},
      {1, StateType::kText, {}, "field 1 is of another type"},
      {1, StateType::kUnsigned, {1, 2, 3}, "field 1 is out of range"},
      {1, StateType::kUnsigned, std::vector<uint8_t>(9), "field 1 is out of range"},
      {2, StateType::kUnsigned, {0, 1, 0, 0, 0, 0, 0, 0}, "field 2 is out of range 0 to 255"},
      {3, StateType::kUnsigned, minus_one, "field 3 is of another type"},
      {4, StateType::kSigned, {0, 0x80, 0, 0, 0, 0, 0, 0}, "field 4 is out of range -32768 to 32767"},
      {4, StateType::kSigned, {}, "field 4 is out of range"},
      {5, StateType::kBool, {2}, "field 5 is neither true nor false"},
      {5, StateType::kBool, {}, "field 5 is neither true nor false"},
      {6, StateType::kUnsigned, {0, 0, 1, 0, 0, 0, 0, 0}, "field 6 is out of range 0 to 65535"},
      {7, StateType::kUnsigned, {kDropReasonCount, 0, 0, 0, 0, 0, 0, 0}, "field 7 is out of range 0 to 18"},
      {8, StateType::kBytes, {}, "field 8 is of another type"},
      {9, StateType::kText, {}, "field 9 is of another type"},
      {10, StateType::kBytes, {1, 2, 3, 4, 5}, "field 10 is not 6 bytes long"},
      {11, StateType::kUnsigned, minus_one, "field 11 is no section"},
      {11, StateType::kSection, {}, "sample/sample: load: ends within a section's head"},
      {11, StateType::kSection, {9, 'x'}, "sample/sample: load: ends within a section's head"},
      {11, StateType::kSection, {1, 'x', 3, 0}, "sample/sample: load: is the state of a \"x\""},
      {11,
       StateType::kSection,
       {6, 's', 'a', 'm', 'p', 'l', 'e', 4, 0},
       "sample/sample: load: has version 4"},
      {11,
       StateType::kSection,
       {6, 's', 'a', 'm', 'p', 'l', 'e', 3, 0},
       "sample/sample: load: field 1 is missing"},
      {11,
       StateType::kSection,
       {6, 's', 'a', 'm', 'p', 'l', 'e', 3, 0, 1},
       "a record is longer than its section"},
  };
  for (const Row& row : rows) {
    std::vector<uint8_t> section = SectionWithout(row.field);
    AppendRecord(section, row.field, static_cast<uint8_t>(row.type), row.payload);
    CHECK_THAT(TextOf(LoadState<SampleState>(Wrapped(section)).status()), Catch::Contains(row.what));
  }
}

TEST_CASE("a field that is there twice is refused") {
  std::vector<uint8_t> section = Unwrapped(SaveState(Family()));
  AppendRecord(section, 1, 1, std::vector<uint8_t>(8));
  CHECK_THAT(TextOf(LoadState<SampleState>(Wrapped(section)).status()),
             Catch::Contains("field 1 is there twice"));
}

TEST_CASE("a record that claims more than there is is refused, however much it claims") {
  for (const uint64_t claim :
       {uint64_t{1}, uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 10}) {
    std::vector<uint8_t> section = Unwrapped(SaveState(Family()));
    AppendRecord(section, 600, 5, {});
    for (size_t i = 0; i < 8; ++i) section[section.size() - 8 + i] = static_cast<uint8_t>(claim >> (8 * i));
    CHECK(LoadState<SampleState>(Wrapped(section)).status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("sections nest 16 deep and no deeper, so that no bytes can use up the stack") {
  CHECK(LoadState<SampleState>(SaveState(Chain(16))).value() == Chain(16));
  CHECK_THAT(TextOf(LoadState<SampleState>(SaveState(Chain(17))).status()),
             Catch::Contains("more than 16 deep"));
}

TEST_CASE("what Load itself refuses is refused, also deep inside, with the way to it") {
  SampleState state = Family();
  state.children[1].name = "refused";
  const absl::Status status = LoadState<SampleState>(SaveState(state)).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(TextOf(status), Catch::Contains("state sample/sample: load: the name is \"refused\""));
}

TEST_CASE("the first failure sticks, and later reads leave their targets alone") {
  StateWriter writer("pair", 1);
  writer.Put(1, uint64_t{300});
  writer.Put(2, "text");
  const std::vector<uint8_t> bytes = writer.Finish();
  StateReader reader = StateReader::Open(bytes, "pair", 1).value();
  uint8_t narrow = 42;
  std::string text = "before";

  reader.Read(1, narrow);
  reader.Read(2, text);
  reader.Read(3, narrow);

  CHECK(narrow == 42);
  CHECK(text == "before");
  CHECK_THAT(TextOf(reader.status()), Catch::Contains("field 1 is out of range 0 to 255"));
}

// One nested state, and not a list of them.
struct Outer {
  Numbered<2> inner;
  static constexpr absl::string_view kStateName = "outer";
  static constexpr uint16_t kStateVersion = 1;
  void Save(StateWriter& out) const { out.Put(1, inner); }
  void Load(StateReader& in) { in.Read(1, inner); }
};

TEST_CASE("a single nested state is wanted exactly once") {
  CHECK(LoadState<Outer>(SaveState(Outer{.inner = {.number = 3}}))->inner.number == 3);
  StateWriter none("outer", 1);
  CHECK_FALSE(LoadState<Outer>(none.Finish()).ok());
  StateWriter two("outer", 1);
  two.Put(1, std::vector<Numbered<2>>(2));
  CHECK_FALSE(LoadState<Outer>(two.Finish()).ok());
}

TEST_CASE("random bytes are refused, and so is nothing at all") {
  Random random(PrintedSeed());
  CHECK_FALSE(LoadState<SampleState>({}).ok());
  for (int round = 0; round < 2'000; ++round) {
    const std::vector<uint8_t> bytes = RandomBytes(random, Below(random, 200));
    CHECK_FALSE(LoadState<SampleState>(bytes).ok());
    CHECK_FALSE(LoadState<SampleState>(Wrapped(bytes)).ok());
  }
}

}  // namespace
}  // namespace sluice
