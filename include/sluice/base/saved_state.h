// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_SAVED_STATE_H_
#define SLUICE_BASE_SAVED_STATE_H_

// State that leaves the object it belongs to, and is distrusted when it comes back: for upgrades, migration,
// fail-over and files. Each stateful class Foo has a plain FooState that saves and loads itself:
//
//   struct PortState {
//     PortId port;
//     std::string name;
//     uint64_t forwarded = 0;
//     std::vector<AddressState> addresses;
//
//     static constexpr absl::string_view kStateName = "port";
//     static constexpr uint16_t kStateVersion = 2;
//     void Save(StateWriter& out) const {
//       out.Put(1, port);
//       out.Put(2, name);
//       out.Put(3, forwarded);
//       out.Put(4, addresses);
//     }
//     void Load(StateReader& in) {
//       in.Read(1, port);
//       in.Read(2, name);
//       if (in.Has(3)) in.Read(3, forwarded);  // added later: an older writer has none
//       in.Read(4, addresses);
//       if (addresses.size() > 64) in.Refuse("more than 64 addresses");
//     }
//   };
//
//   std::vector<uint8_t> bytes = SaveState(state);
//   absl::StatusOr<PortState> again = LoadState<PortState>(bytes);
//
// Rules of change. A field's number keeps its meaning and type for ever. A new field takes a new number, and
// older readers skip it. Who changes what old fields mean adds one to kStateVersion: a reader of version N
// takes N and N - 1 (see StateReader::version) and refuses all others.
//
// Layout, little-endian; what is said twice must agree, and nothing may follow the checksum:
//
//   magic 8 │ format 2 │ length 8 │ section of `length` bytes │ CRC-32C of all before 4
//   section = name length 1 │ name │ version 2 │ record ...
//   record  = field 2 │ type 1 │ length 8 │ payload           a nested section is the payload of a record
//
// The checksum finds damage, not forgery: whoever can write the bytes can make them say anything that the
// types allow. Load checks what the numbers mean, as in the example.
//
// Threads: none of this is shared.
// Cost: saving copies each nested state once more per level; loading reads every byte twice.
// Limits: sections nest 16 deep; loading takes at most 3 bytes of memory for each byte given, whatever lengths
// those claim, besides the states themselves.

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

class StateWriter;
class StateReader;

template <typename T>
concept SavedState = requires(const T& from, T& to, StateWriter& out, StateReader& in) {
  { T::kStateName } -> std::convertible_to<absl::string_view>;
  { T::kStateVersion } -> std::convertible_to<uint16_t>;
  from.Save(out);
  to.Load(in);
};

// Numbers as they are saved: 64 bits wide, so that a field may grow.
template <typename T>
concept StateUnsigned = std::unsigned_integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>;
template <typename T>
concept StateSigned = std::signed_integral<T> && !std::same_as<T, char>;
template <typename T>
concept StateEnum = std::is_enum_v<T> && std::unsigned_integral<std::underlying_type_t<T>>;

enum class StateType : uint8_t { kUnsigned = 1, kSigned = 2, kBool = 3, kText = 4, kBytes = 5, kSection = 6 };

// One section while it is written. The bytes are the same for the same calls, on every machine.
class SLUICE_EXPORT StateWriter {
 public:
  // The first 255 bytes of `name` are used.
  StateWriter(absl::string_view name, uint16_t version);

  template <StateUnsigned T>
  void Put(uint16_t field, T value) {
    PutNumber(field, StateType::kUnsigned, value);
  }
  template <StateSigned T>
  void Put(uint16_t field, T value) {
    PutNumber(field, StateType::kSigned, static_cast<uint64_t>(static_cast<int64_t>(value)));
  }
  template <std::same_as<bool> T>  // a template, for a pointer would turn into a plain bool
  void Put(uint16_t field, T value) {
    PutBool(field, value);
  }
  template <StateEnum T>
  void Put(uint16_t field, T value) {
    Put(field, static_cast<std::underlying_type_t<T>>(value));
  }
  template <typename Tag, typename Rep>
  void Put(uint16_t field, StrongId<Tag, Rep> id) {
    Put(field, id.value());
  }
  void Put(uint16_t field, absl::string_view text);
  void Put(uint16_t field, absl::Span<const uint8_t> bytes);
  template <SavedState T>
  void Put(uint16_t field, const T& state) {
    StateWriter section(T::kStateName, T::kStateVersion);
    state.Save(section);
    PutRecord(field, StateType::kSection, section.section_);
  }
  // One record for each element; none for an empty list.
  template <SavedState T>
  void Put(uint16_t field, const std::vector<T>& states) {
    for (const T& state : states) Put(field, state);
  }

  // The whole as it is stored, with magic and checksum around this section.
  std::vector<uint8_t> Finish() const;

 private:
  void PutNumber(uint16_t field, StateType type, uint64_t value);
  void PutBool(uint16_t field, bool value);
  void PutRecord(uint16_t field, StateType type, absl::Span<const uint8_t> payload);

  std::vector<uint8_t> section_;
};

// One section while it is read. The first failure sticks, for the whole and not only for this section: later
// reads leave their targets alone, and status() tells. Text and bytes are copied out.
class SLUICE_EXPORT StateReader {
 public:
  // Checks magic, format, lengths, checksum, name and version. `bytes` outlive the reader. kDataLoss when
  // they are damaged or no saved state at all, kInvalidArgument when they are the state of something else,
  // kFailedPrecondition when their version is not `version` or the one before it.
  static absl::StatusOr<StateReader> Open(absl::Span<const uint8_t> bytes, absl::string_view name,
                                          uint16_t version);

  uint16_t version() const { return version_; }  // of the writer: that of this reader, or one less
  bool Has(uint16_t field) const;

  // Each Read wants its field exactly once, of the type written and within the range of `out`; else it fails
  // and leaves `out` alone.
  template <StateUnsigned T>
  void Read(uint16_t field, T& out) {
    uint64_t value = 0;
    if (ReadUnsigned(field, std::numeric_limits<T>::max(), value)) out = static_cast<T>(value);
  }
  template <StateSigned T>
  void Read(uint16_t field, T& out) {
    int64_t value = 0;
    if (ReadSigned(field, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), value)) {
      out = static_cast<T>(value);
    }
  }
  void Read(uint16_t field, bool& out);
  // Enumerators from 0 to `last`, without holes.
  template <StateEnum T>
  void Read(uint16_t field, T& out, T last) {
    uint64_t value = 0;
    if (ReadUnsigned(field, static_cast<uint64_t>(last), value)) out = static_cast<T>(value);
  }
  template <typename Tag, typename Rep>
  void Read(uint16_t field, StrongId<Tag, Rep>& out) {
    Rep value = out.value();
    Read(field, value);
    out = StrongId<Tag, Rep>(value);
  }
  void Read(uint16_t field, std::string& out);
  void Read(uint16_t field, std::vector<uint8_t>& out);
  template <size_t kLength>
  void Read(uint16_t field, std::array<uint8_t, kLength>& out) {
    ReadExactly(field, absl::MakeSpan(out));
  }
  template <SavedState T>
  void Read(uint16_t field, T& out) {
    T state;
    if (const Record* record = Only(field, StateType::kSection)) LoadSection(*record, state);
    if (ok()) out = std::move(state);
  }
  // As many as were written, in their order; an absent field is an empty list.
  template <SavedState T>
  void Read(uint16_t field, std::vector<T>& out) {
    std::vector<T> states;
    for (const Record& record : Find(field)) {
      if (ok()) LoadSection(record, states.emplace_back());
    }
    if (ok()) out = std::move(states);
  }

  // For what the numbers mean: `what` in words, as in "queue 9 of 4".
  void Refuse(absl::string_view what);

  bool ok() const;
  absl::Status status() const;

 private:
  struct Record {
    uint16_t field;
    StateType type;  // as found: may be one that only newer versions know
    absl::Span<const uint8_t> payload;
  };

  StateReader() = default;
  absl::Status Enter(absl::Span<const uint8_t> section, absl::string_view name, uint16_t version);
  absl::Status Index(absl::Span<const uint8_t> records);
  bool EnterNested(const Record& record, absl::string_view name, uint16_t version, StateReader& section);
  absl::Span<const Record> Find(uint16_t field) const;
  const Record* Only(uint16_t field, StateType type);
  bool ReadUnsigned(uint16_t field, uint64_t max, uint64_t& out);
  bool ReadSigned(uint16_t field, int64_t min, int64_t max, int64_t& out);
  void ReadExactly(uint16_t field, absl::Span<uint8_t> out);
  void Fail(absl::Status status);

  template <SavedState T>
  void LoadSection(const Record& record, T& state) {
    StateReader section;
    if (EnterNested(record, T::kStateName, T::kStateVersion, section)) state.Load(section);
  }

  std::string path_;  // "switch/port", for messages
  uint16_t version_ = 0;
  uint16_t depth_ = 0;
  std::vector<Record> records_;            // by field, those of one field in the order written
  std::shared_ptr<absl::Status> failure_;  // one for the whole
};

template <SavedState T>
std::vector<uint8_t> SaveState(const T& state) {
  StateWriter writer(T::kStateName, T::kStateVersion);
  state.Save(writer);
  return writer.Finish();
}

// See StateReader::Open for the failures; besides kInvalidArgument when a field is missing, of another type
// or out of range, or when Load refused.
template <SavedState T>
absl::StatusOr<T> LoadState(absl::Span<const uint8_t> bytes) {
  absl::StatusOr<StateReader> reader = StateReader::Open(bytes, T::kStateName, T::kStateVersion);
  if (!reader.ok()) return reader.status();
  T state;
  state.Load(*reader);
  if (!reader->ok()) return reader->status();
  return state;
}

}  // namespace sluice

#endif  // SLUICE_BASE_SAVED_STATE_H_
