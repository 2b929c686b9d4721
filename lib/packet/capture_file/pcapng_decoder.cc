// SPDX-License-Identifier: Apache-2.0
// pcapng: blocks of [type, length, body, length]. A section header starts anew, maybe in the other byte
// order.

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/numeric/int128.h"
#include "absl/strings/str_cat.h"
#include "packet/capture_file/decoder_internal.h"

namespace sluice {
namespace {

// Bounds on what a file can make us keep.
constexpr uint32_t kMaxBlock = 1 << 20;  // bytes of a block that is read: a record with options
constexpr size_t kMaxInterfaces = 4096;  // of a section

constexpr uint32_t kBlockFrame = 12;  // type and both lengths
constexpr uint8_t kMicroseconds = 6;  // the time unit where none is given

struct Block {
  uint64_t start = 0;  // offset in the file
  uint32_t type = 0;
  uint32_t body = 0;  // bytes
};

// How an interface counts time.
struct TimeBase {
  uint8_t unit = kMicroseconds;
  int64_t offset = 0;  // seconds
};

// Fewest body bytes of each kind that is read.
uint32_t LeastBody(uint32_t type) {
  switch (type) {
    case kSectionHeaderBlock:
      return 16;
    case kInterfaceBlock:
      return 8;
    case kSimplePacketBlock:
      return 4;
    default:
      return 20;  // enhanced and old packet blocks
  }
}

bool IsRead(uint32_t type) {
  return type == kSectionHeaderBlock || type == kInterfaceBlock || type == kOldPacketBlock ||
         type == kSimplePacketBlock || type == kEnhancedPacketBlock;
}

class PcapngDecoder final : public CaptureDecoder {
 public:
  explicit PcapngDecoder(CaptureInput input) : input_(std::move(input)) {}

  CaptureFormat format() const override { return CaptureFormat::kPcapng; }

  // The first block, whose type has been read.
  absl::Status Open() {
    const absl::StatusOr<Block> block = ReadSectionHeader(0);
    if (!block.ok()) return block.status();
    return ReadBody(*block);
  }

  absl::StatusOr<bool> Read(CaptureRecord& record) override {
    for (;;) {
      const absl::StatusOr<Block> block = ReadHeader();
      if (!block.ok()) return block.status();
      if (block->type == kNoBlock) return false;
      absl::Status status = ReadBody(*block);
      if (!status.ok()) return status;
      if (block->type == kInterfaceBlock) status = AddInterface(*block);
      if (!status.ok()) return status;
      if (block->type == kEnhancedPacketBlock) return Enhanced(*block, record);
      if (block->type == kOldPacketBlock) return Old(*block, record);
      if (block->type == kSimplePacketBlock) return Simple(*block, record);
    }
  }

 private:
  static constexpr uint32_t kNoBlock = 0;  // reserved: stands for the end of the file

  absl::StatusOr<Block> ReadHeader() {
    const uint64_t start = input_.offset();
    std::array<uint8_t, 4> type;
    const absl::StatusOr<bool> more = input_.ReadOrEnd(type.data(), type.size());
    if (!more.ok()) return more.status();
    if (!*more) return Block{.start = start, .type = kNoBlock, .body = 0};
    if (order_.U32(type.data()) == kSectionHeaderBlock) return ReadSectionHeader(start);

    std::array<uint8_t, 4> length;
    const absl::Status status = input_.Read(length.data(), length.size());
    if (!status.ok()) return status;
    return Checked(start, order_.U32(type.data()), order_.U32(length.data()));
  }

  // The byte order of the length is known only after the magic number that follows it.
  absl::StatusOr<Block> ReadSectionHeader(uint64_t start) {
    std::array<uint8_t, 8> header;
    const absl::Status status = input_.Read(header.data(), header.size());
    if (!status.ok()) return status;
    order_.swapped = false;
    if (order_.U32(&header[4]) != kByteOrderMagic) order_.swapped = true;
    if (order_.U32(&header[4]) != kByteOrderMagic) {
      return NotUnderstood(start, "a section header without its byte-order number");
    }
    interfaces_.clear();
    times_.clear();
    return Checked(start, kSectionHeaderBlock, order_.U32(&header[0]));
  }

  // A first section that is not understood is some other kind of file; a later one is damage.
  absl::Status NotUnderstood(uint64_t start, const std::string& what) const {
    return start == 0 ? input_.NotACapture(start, what) : input_.Corrupt(start, what);
  }

  absl::StatusOr<Block> Checked(uint64_t start, uint32_t type, uint32_t length) const {
    const bool fits = length % 4 == 0 && length >= kBlockFrame;
    const Block block{.start = start, .type = type, .body = length - kBlockFrame};
    const bool known = IsRead(type);
    if (!fits || (known && (block.body < LeastBody(type) || length > kMaxBlock))) {
      return input_.Corrupt(start, absl::StrCat("a block of type ", type, " and ", length, " bytes"));
    }
    return block;
  }

  // The body into body_, if its kind is read, and the length that ends the block.
  absl::Status ReadBody(const Block& block) {
    absl::Status status;
    if (IsRead(block.type)) {
      // Of a section header the byte-order number is already gone.
      const uint32_t gone = block.type == kSectionHeaderBlock ? 4 : 0;
      body_.resize(block.body - gone);
      status = input_.Read(body_.data(), body_.size());
    } else {
      status = input_.Skip(block.body);
    }
    if (!status.ok()) return status;
    std::array<uint8_t, 4> length;
    status = input_.Read(length.data(), length.size());
    if (status.ok() && order_.U32(length.data()) != block.body + kBlockFrame) {
      return input_.Corrupt(block.start, "the two lengths of a block differ");
    }
    if (status.ok() && block.type == kSectionHeaderBlock && order_.U16(&body_[0]) != kPcapngMajor) {
      return NotUnderstood(block.start,
                           absl::StrCat("pcapng version ", order_.U16(&body_[0]), "; 1 is known"));
    }
    return status;
  }

  absl::Status AddInterface(const Block& block) {
    if (interfaces_.size() == kMaxInterfaces) {
      return input_.Corrupt(block.start, absl::StrCat("more than ", kMaxInterfaces, " interfaces"));
    }
    CaptureInterface interface {
      .name = {}, .link_type = order_.U16(&body_[0]), .snap_length = order_.U32(&body_[4])
    };
    TimeBase time;
    const absl::Status status = ReadInterfaceOptions(block, interface, time);
    if (!status.ok()) return status;
    interfaces_.push_back(std::move(interface));
    times_.push_back(time);
    return absl::OkStatus();
  }

  absl::Status ReadInterfaceOptions(const Block& block, CaptureInterface& interface, TimeBase& time) {
    for (size_t at = LeastBody(kInterfaceBlock); at + 4 <= body_.size();) {
      const uint16_t code = order_.U16(&body_[at]);
      const size_t length = order_.U16(&body_[at + 2]);
      at += 4;
      if (code == kOptionEnd) break;
      if (length > body_.size() - at) return input_.Corrupt(block.start, "an option longer than its block");
      const uint8_t* value = body_.data() + at;
      if (code == kOptionName) interface.name.assign(value, value + length);
      if (code == kOptionTimeUnit && length == 1) time.unit = *value;
      if (code == kOptionTimeOffset && length == 8) time.offset = static_cast<int64_t>(order_.U64(value));
      at += (length + 3) / 4 * 4;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Enhanced(const Block& block, CaptureRecord& record) const {
    return Packet(block, order_.U32(&body_[0]), record);
  }

  // The draft's appendix on the obsolete block: the same, but for a drop count in the upper half of the first
  // word.
  absl::StatusOr<bool> Old(const Block& block, CaptureRecord& record) const {
    return Packet(block, order_.U16(&body_[0]), record);
  }

  absl::StatusOr<bool> Packet(const Block& block, uint32_t interface, CaptureRecord& record) const {
    const uint64_t ticks = uint64_t{order_.U32(&body_[4])} << 32 | order_.U32(&body_[8]);
    const uint32_t captured = order_.U32(&body_[12]);
    const size_t room = body_.size() - LeastBody(block.type);
    const absl::Status status = Check(block, interface, captured, room);
    if (!status.ok()) return status;
    record = {.timestamp = Time(times_[interface], ticks),
              .original_length = std::max(captured, order_.U32(&body_[16])),
              .interface = interface,
              .link_type = interfaces_[interface].link_type,
              .bytes = absl::MakeConstSpan(body_.data() + LeastBody(block.type), captured)};
    return true;
  }

  // Belongs to the first interface; its captured length is what the snap length left of the original.
  absl::StatusOr<bool> Simple(const Block& block, CaptureRecord& record) const {
    const uint32_t original = order_.U32(&body_[0]);
    const uint32_t snap = interfaces_.empty() ? 0 : interfaces_[0].snap_length;
    const uint32_t captured = snap == 0 ? original : std::min(original, snap);
    const absl::Status status = Check(block, 0, captured, body_.size() - LeastBody(block.type));
    if (!status.ok()) return status;
    record = {.timestamp = 0,
              .original_length = original,
              .interface = 0,
              .link_type = interfaces_[0].link_type,
              .bytes = absl::MakeConstSpan(body_.data() + LeastBody(block.type), captured)};
    return true;
  }

  absl::Status Check(const Block& block, uint32_t interface, uint32_t captured, size_t room) const {
    if (interface >= interfaces_.size()) {
      return input_.Corrupt(block.start,
                            absl::StrCat("a record of interface ", interface, ", not described"));
    }
    if (captured > room || captured > kMaxCaptureBytes) {
      return input_.Corrupt(block.start, absl::StrCat("a record of ", captured, " bytes in a block with ",
                                                      room, "; ", kMaxCaptureBytes, " is the most"));
    }
    return absl::OkStatus();
  }

  // Clamped, as a file can claim any time.
  static Nanoseconds Time(const TimeBase& base, uint64_t ticks) {
    constexpr absl::int128 kLatest = std::numeric_limits<Nanoseconds>::max();
    const absl::int128 time = absl::int128(FromTicks(ticks, base.unit)) + absl::int128(base.offset) * kSecond;
    return static_cast<Nanoseconds>(std::clamp(time, absl::int128(0), kLatest));
  }

  CaptureInput input_;
  FileOrder order_;
  std::vector<TimeBase> times_;  // by interface
  std::vector<uint8_t> body_;
};

}  // namespace

Nanoseconds FromTicks(uint64_t ticks, uint8_t unit) {
  constexpr Nanoseconds kLatest = std::numeric_limits<Nanoseconds>::max();
  constexpr int kNanoseconds = 9;
  if (unit >= 128) {
    const absl::uint128 time = absl::uint128(ticks) * kSecond >> (unit - 128);
    return static_cast<Nanoseconds>(std::min(time, absl::uint128(kLatest)));
  }
  for (int power = unit; power > kNanoseconds && ticks != 0; --power) ticks /= 10;
  for (int power = unit; power < kNanoseconds; ++power) {
    if (ticks > kLatest / 10) return kLatest;
    ticks *= 10;
  }
  return ticks;
}

absl::StatusOr<std::unique_ptr<CaptureDecoder>> OpenPcapng(CaptureInput input) {
  auto decoder = std::make_unique<PcapngDecoder>(std::move(input));
  const absl::Status status = decoder->Open();
  if (!status.ok()) return status;
  return decoder;
}

}  // namespace sluice
