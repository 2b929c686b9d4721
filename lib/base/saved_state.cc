// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/saved_state.h"

#include <algorithm>
#include <boost/crc.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

using Bytes = absl::Span<const uint8_t>;

// The high bit and the newline show at once what a transfer as text has done to it.
constexpr std::array<uint8_t, 8> kMagic = {0x8A, 's', 'l', 'u', 'i', 'c', 'e', '\n'};
constexpr uint16_t kFormat = 1;
constexpr size_t kChecksumBytes = 4;
constexpr size_t kLongestName = 255;
constexpr uint16_t kDeepest = 16;

template <typename T>
void Append(std::vector<uint8_t>& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<uint8_t>(uint64_t{value} >> (8 * i)));
}

void Append(std::vector<uint8_t>& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

uint32_t Checksum(Bytes bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

// Takes values off the front of bytes that may end anywhere.
class Cursor {
 public:
  explicit Cursor(Bytes rest) : rest_(rest) {}

  template <typename T>
  bool Take(T& value) {
    Bytes bytes;
    if (!Take(sizeof(T), bytes)) return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(T); ++i) sum |= uint64_t{bytes[i]} << (8 * i);
    value = static_cast<T>(sum);
    return true;
  }
  bool Take(uint64_t length, Bytes& bytes) {
    if (length > rest_.size()) return false;
    bytes = rest_.subspan(0, length);
    rest_.remove_prefix(length);
    return true;
  }

  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

struct Head {
  uint16_t field = 0;
  uint8_t type = 0;
  Bytes payload;
};

std::optional<Head> TakeRecord(Cursor& cursor) {
  Head head;
  uint64_t length = 0;
  const bool whole = cursor.Take(head.field) && cursor.Take(head.type) && cursor.Take(length) &&
                     cursor.Take(length, head.payload);
  return whole ? std::optional(head) : std::nullopt;
}

absl::Status Refusal(absl::StatusCode code, absl::string_view path, std::string what, std::string remedy) {
  return ErrorStatus(code, {.device = absl::StrCat("state ", path),
                            .stage = "load",
                            .what = std::move(what),
                            .remedy = std::move(remedy)});
}

absl::Status Damaged(absl::string_view path, std::string what) {
  return Refusal(absl::StatusCode::kDataLoss, path, std::move(what), "save or copy it again");
}

absl::Status Wrong(absl::string_view path, std::string what) {
  return Refusal(absl::StatusCode::kInvalidArgument, path, std::move(what),
                 "load only what the same kind of object saved");
}

absl::Status WrongVersion(absl::string_view path, uint16_t found, uint16_t known) {
  return Refusal(absl::StatusCode::kFailedPrecondition, path,
                 absl::StrCat("has version ", found, ", readable are ", known, " and the one before it"),
                 found > known ? "upgrade this side first" : "load and save it with a release in between");
}

// The section inside the wrapping, once nothing about the wrapping is in doubt.
absl::StatusOr<Bytes> Unwrap(Bytes bytes, absl::string_view name) {
  Cursor cursor(bytes);
  Bytes magic;
  uint16_t format = 0;
  uint64_t length = 0;
  if (!cursor.Take(kMagic.size(), magic) || magic != Bytes(kMagic)) {
    return Damaged(name, "does not begin as a saved state");
  }
  if (!cursor.Take(format) || !cursor.Take(length)) return Damaged(name, "ends within its head");
  if (format != kFormat) return WrongVersion(absl::StrCat(name, " (format)"), format, kFormat);

  Bytes section;
  uint32_t checksum = 0;
  if (!cursor.Take(length, section) || !cursor.Take(checksum) || !cursor.rest().empty()) {
    return Damaged(
        name, absl::StrCat("announces ", length, " bytes, which does not fit the ", bytes.size(), " given"));
  }
  if (checksum != Checksum(bytes.first(bytes.size() - kChecksumBytes)))
    return Damaged(name, "fails its checksum");
  return section;
}

}  // namespace

StateWriter::StateWriter(absl::string_view name, uint16_t version) {
  name = name.substr(0, kLongestName);
  Append(section_, static_cast<uint8_t>(name.size()));
  section_.insert(section_.end(), name.begin(), name.end());
  Append(section_, version);
}

void StateWriter::Put(uint16_t field, absl::string_view text) {
  PutRecord(field, StateType::kText, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

void StateWriter::Put(uint16_t field, Bytes bytes) { PutRecord(field, StateType::kBytes, bytes); }

void StateWriter::PutNumber(uint16_t field, StateType type, uint64_t value) {
  std::array<uint8_t, sizeof(value)> bytes;
  for (size_t i = 0; i < sizeof(value); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  PutRecord(field, type, bytes);
}

void StateWriter::PutBool(uint16_t field, bool value) {
  const uint8_t byte = value ? 1 : 0;
  PutRecord(field, StateType::kBool, {&byte, 1});
}

void StateWriter::PutRecord(uint16_t field, StateType type, Bytes payload) {
  Append(section_, field);
  Append(section_, static_cast<uint8_t>(type));
  Append(section_, uint64_t{payload.size()});
  Append(section_, payload);
}

std::vector<uint8_t> StateWriter::Finish() const {
  std::vector<uint8_t> whole;
  whole.reserve(section_.size() + 32);
  Append(whole, Bytes(kMagic));
  Append(whole, kFormat);
  Append(whole, uint64_t{section_.size()});
  Append(whole, Bytes(section_));
  Append(whole, Checksum(whole));
  return whole;
}

absl::StatusOr<StateReader> StateReader::Open(Bytes bytes, absl::string_view name, uint16_t version) {
  absl::StatusOr<Bytes> section = Unwrap(bytes, name);
  if (!section.ok()) return section.status();
  StateReader reader;
  reader.failure_ = std::make_shared<absl::Status>();
  reader.path_ = std::string(name);
  if (absl::Status status = reader.Enter(*section, name, version); !status.ok()) return status;
  return reader;
}

absl::Status StateReader::Enter(Bytes section, absl::string_view name, uint16_t version) {
  Cursor cursor(section);
  uint8_t length = 0;
  Bytes found;
  if (!cursor.Take(length) || !cursor.Take(length, found) || !cursor.Take(version_)) {
    return Damaged(path_, "ends within a section's head");
  }
  const absl::string_view found_name(reinterpret_cast<const char*>(found.data()), found.size());
  if (found_name != name.substr(0, kLongestName)) {
    return Wrong(path_, absl::StrCat("is the state of a \"", found_name, "\""));
  }
  if (version_ != version && version_ + 1 != version) return WrongVersion(path_, version_, version);
  return Index(cursor.rest());
}

// Counted before they are stored: a length that lies cannot make us allocate for it.
absl::Status StateReader::Index(Bytes records) {
  size_t count = 0;
  Cursor counting(records);
  for (; !counting.rest().empty(); ++count) {
    if (!TakeRecord(counting)) return Damaged(path_, "a record is longer than its section");
  }
  records_.reserve(count);
  Cursor storing(records);
  while (const std::optional<Head> head = TakeRecord(storing)) {
    records_.push_back({head->field, static_cast<StateType>(head->type), head->payload});
  }
  // Places grow in the order written, so that they keep the records of one field in it.
  std::sort(records_.begin(), records_.end(), [](const Record& a, const Record& b) {
    return std::pair(a.field, a.payload.data()) < std::pair(b.field, b.payload.data());
  });
  return absl::OkStatus();
}

bool StateReader::EnterNested(const Record& record, absl::string_view name, uint16_t version,
                              StateReader& section) {
  section.failure_ = failure_;
  section.path_ = absl::StrCat(path_, "/", name);
  section.depth_ = static_cast<uint16_t>(depth_ + 1);
  if (record.type != StateType::kSection) {
    Fail(Wrong(path_, absl::StrCat("field ", record.field, " is no section")));
  } else if (section.depth_ > kDeepest) {
    Fail(Damaged(path_, absl::StrCat("sections are nested more than ", kDeepest, " deep")));
  } else {
    Fail(section.Enter(record.payload, name, version));
  }
  return ok();
}

absl::Span<const StateReader::Record> StateReader::Find(uint16_t field) const {
  const auto first = std::partition_point(records_.begin(), records_.end(),
                                          [&](const Record& record) { return record.field < field; });
  const auto last =
      std::find_if(first, records_.end(), [&](const Record& record) { return record.field != field; });
  return absl::MakeConstSpan(records_).subspan(static_cast<size_t>(first - records_.begin()),
                                               static_cast<size_t>(last - first));
}

bool StateReader::Has(uint16_t field) const { return !Find(field).empty(); }

const StateReader::Record* StateReader::Only(uint16_t field, StateType type) {
  if (!ok()) return nullptr;
  const absl::Span<const Record> found = Find(field);
  if (found.size() == 1 && found[0].type == type) return &found[0];
  const char* what = found.empty()      ? " is missing"
                     : found.size() > 1 ? " is there twice"
                                        : " is of another type";
  Fail(Wrong(path_, absl::StrCat("field ", field, what)));
  return nullptr;
}

bool StateReader::ReadUnsigned(uint16_t field, uint64_t max, uint64_t& out) {
  const Record* record = Only(field, StateType::kUnsigned);
  if (record == nullptr) return false;
  Cursor cursor(record->payload);
  const bool whole = cursor.Take(out) && cursor.rest().empty();
  if (!whole || out > max) Fail(Wrong(path_, absl::StrCat("field ", field, " is out of range 0 to ", max)));
  return ok();
}

bool StateReader::ReadSigned(uint16_t field, int64_t min, int64_t max, int64_t& out) {
  const Record* record = Only(field, StateType::kSigned);
  if (record == nullptr) return false;
  Cursor cursor(record->payload);
  const bool whole = cursor.Take(out) && cursor.rest().empty();
  if (!whole || out < min || out > max) {
    Fail(Wrong(path_, absl::StrCat("field ", field, " is out of range ", min, " to ", max)));
  }
  return ok();
}

void StateReader::Read(uint16_t field, bool& out) {
  const Record* record = Only(field, StateType::kBool);
  if (record == nullptr) return;
  if (record->payload.size() != 1 || record->payload[0] > 1) {
    Fail(Wrong(path_, absl::StrCat("field ", field, " is neither true nor false")));
  }
  if (ok()) out = record->payload[0] == 1;
}

void StateReader::Read(uint16_t field, std::string& out) {
  const Record* record = Only(field, StateType::kText);
  if (record != nullptr) out.assign(record->payload.begin(), record->payload.end());
}

void StateReader::Read(uint16_t field, std::vector<uint8_t>& out) {
  const Record* record = Only(field, StateType::kBytes);
  if (record != nullptr) out.assign(record->payload.begin(), record->payload.end());
}

void StateReader::ReadExactly(uint16_t field, absl::Span<uint8_t> out) {
  const Record* record = Only(field, StateType::kBytes);
  if (record == nullptr) return;
  if (record->payload.size() != out.size()) {
    Fail(Wrong(path_, absl::StrCat("field ", field, " is not ", out.size(), " bytes long")));
  }
  if (ok()) std::copy(record->payload.begin(), record->payload.end(), out.begin());
}

void StateReader::Refuse(absl::string_view what) { Fail(Wrong(path_, std::string(what))); }

void StateReader::Fail(absl::Status status) {
  if (failure_->ok()) *failure_ = std::move(status);
}

bool StateReader::ok() const { return failure_->ok(); }

absl::Status StateReader::status() const { return *failure_; }

}  // namespace sluice
