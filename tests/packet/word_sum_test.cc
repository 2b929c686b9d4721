// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "packet/word_sum_internal.h"
#include "sluice/packet/checksum.h"
#include "tests/packet/simd_levels.h"
#include "tests/packet/small_pool.h"
#include "tests/support/frames.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // SimpleChecksum is the twin, byte by byte

__extension__ using Uint128 = unsigned __int128;
constexpr size_t kShort = 64;  // what WordSum adds up without LongWordSum

// The checksum of `n` bytes by the variant of `level`.
uint16_t ChecksumAt(SimdLevel level, const uint8_t* bytes, size_t n) {
  const uint64_t sum = n > kShort ? LongWordSum.At(level)(bytes, n) : WordSum(bytes, n);
  return static_cast<uint16_t>(~SwapSum(FoldSum(sum)));
}

void CheckAtEveryLevel(absl::Span<const uint8_t> bytes) {
  const uint16_t expected = SimpleChecksum(bytes);
  for (const SimdLevel level : SimdLevelsHere()) {
    if (ChecksumAt(level, bytes.data(), bytes.size()) == expected) continue;
    FAIL("level " << static_cast<int>(level) << ", " << bytes.size() << " bytes at "
                  << reinterpret_cast<uintptr_t>(bytes.data()) % 64);
  }
}

Bytes RandomBytes(Random& random, size_t size) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST_CASE("the sum of every short length equals the byte-wise one, at every level and alignment") {
  Random random(PrintedSeed());
  const Bytes bytes = RandomBytes(random, 400);
  for (size_t n = 0; n <= 300; ++n) {
    for (size_t at = 0; at < 64; at += n % 7 + 1) CheckAtEveryLevel(absl::MakeConstSpan(&bytes[at], n));
  }
}

// Around where a run of vectors ends and where long pieces are aligned.
TEST_CASE("the sum of long pieces equals the byte-wise one, at every level and alignment") {
  Random random(PrintedSeed());
  const Bytes bytes = RandomBytes(random, 3 * 65536 + 200);
  for (const size_t near : {512, 1500, 4096, 9000, 65536, 2 * 65536, 3 * 65536}) {
    for (int round = 0; round < 12; ++round) {
      const size_t n = near - 64 + Below(random, 128);
      CheckAtEveryLevel(absl::MakeConstSpan(&bytes[Below(random, 64)], n));
    }
  }
}

// 0xffff and 0 stand for the same sum, but only zeros add up to 0: a checksum of 0xffff and one of 0 differ
// on the wire.
TEST_CASE("all ones and all zeros keep their two forms of zero, and no length overflows") {
  const Bytes ones(1 << 20, 0xff), zeros(1 << 20, 0), signs(1 << 20, 0x80), largest(1 << 20, 0x7f);
  for (const size_t n : {2, 8, 20, 64, 66, 128, 1500, 65536, 65600, 1 << 20}) {
    for (const Bytes* bytes : {&ones, &zeros, &signs, &largest}) {
      CheckAtEveryLevel(absl::MakeConstSpan(bytes->data(), n));
    }
    for (const SimdLevel level : SimdLevelsHere()) {
      CHECK(ChecksumAt(level, ones.data(), n) == 0);
      CHECK(ChecksumAt(level, zeros.data(), n) == 0xffff);
    }
  }
}

// Sanitizers do not watch masked vector loads.
TEST_CASE("nothing outside the piece is added") {
  Random random(PrintedSeed());
  Bytes bytes = RandomBytes(random, 5000);
  for (int round = 0; round < 300; ++round) {
    const size_t at = 64 + Below(random, 64), n = Below(random, round % 2 == 0 ? 300 : 4600);
    const uint16_t before = SimpleChecksum(absl::MakeConstSpan(&bytes[at], n));
    bytes[at - 1] = static_cast<uint8_t>(random());
    bytes[at + n] = static_cast<uint8_t>(random());
    for (const SimdLevel level : SimdLevelsHere()) {
      if (ChecksumAt(level, &bytes[at], n) != before) FAIL(n << " bytes at " << at);
    }
  }
}

struct Untold : Lender {
  void Returned(absl::Span<const uint64_t>) override {}
};

// A head with `bytes` behind it, in pieces of at most `most`, each at an address of its own.
PacketPtr HeadOf(PacketPool& pool, Bytes& bytes, size_t most, Random& random) {
  static Untold lender;
  PacketPtr head = pool.GetOne();
  Packet* last = head.get();
  for (size_t at = 0; at < bytes.size(); last = last->next()) {
    const size_t n = std::min(bytes.size() - at, 1 + Below(random, most));
    PacketPtr piece = pool.GetOne();
    REQUIRE(piece != nullptr);
    piece->BorrowBytes(&bytes[at], static_cast<uint32_t>(n), lender, 0);
    last->Link(std::move(piece));
    at += n;
  }
  return head;
}

TEST_CASE("the sums of what hangs behind packets equal the byte-wise ones, however it is cut into pieces") {
  Random random(PrintedSeed());
  const std::unique_ptr<PacketPool> pool = SmallPool({.packets = 4096});
  for (int round = 0; round < 200; ++round) {
    Bytes first = RandomBytes(random, Below(random, 3000)), second = RandomBytes(random, Below(random, 300));
    const PacketPtr heads[] = {HeadOf(*pool, first, 1 + Below(random, 1500), random),
                               HeadOf(*pool, second, 20, random)};
    Packet* const raw[] = {heads[0].get(), heads[1].get()};
    for (const SimdLevel level : SimdLevelsHere()) {
      uint64_t sums[2] = {};
      TailSums.At(level)(raw, 2, sums);
      if (static_cast<uint16_t>(~SwapSum(FoldSum(sums[0]))) != SimpleChecksum(first)) FAIL(first.size());
      if (static_cast<uint16_t>(~SwapSum(FoldSum(sums[1]))) != SimpleChecksum(second)) FAIL(second.size());
    }
  }
}

// More vectors than fit one sum, of words that take it to either end.
TEST_CASE("the sum of very many pieces, or of a long one behind many, does not overflow") {
  Random random(PrintedSeed());
  const std::unique_ptr<PacketPool> pool = SmallPool({.packets = 16384});
  for (const uint8_t byte : Bytes{0x00, 0x01, 0x7f, 0xff}) {
    Bytes bytes(10'000, byte), longest(65'535, byte);
    PacketPtr head = HeadOf(*pool, bytes, 1, random);
    head->Append(HeadOf(*pool, longest, 1u << 20, random)->Unlink());
    Bytes all = bytes;
    all.insert(all.end(), longest.begin(), longest.end());
    Packet* const raw = head.get();
    for (const SimdLevel level : SimdLevelsHere()) {
      uint64_t sum = 0;
      TailSums.At(level)(&raw, 1, &sum);
      CHECK(static_cast<uint16_t>(~SwapSum(FoldSum(sum))) == SimpleChecksum(all));
    }
  }
}

TEST_CASE("the sum of bytes moved by one place is the shifted sum") {
  Random random(PrintedSeed());
  for (int round = 0; round < 300; ++round) {
    Bytes bytes = RandomBytes(random, 1 + Below(random, 200));
    bytes[0] = 0;
    const uint64_t from_here = WordSum(bytes.data(), bytes.size());
    const uint64_t from_next = WordSum(bytes.data() + 1, bytes.size() - 1);
    if (FoldSum(from_here) != FoldSum(ShiftedWordSum(from_next))) FAIL(bytes.size() << " bytes");
  }
}

TEST_CASE("folding keeps the sum modulo 2^16 - 1, and gives zero only for zero") {
  Random random(PrintedSeed());
  CHECK(FoldSum(0) == 0);
  CHECK(FoldSum(~uint64_t{0}) == 0xffff);
  for (int round = 0; round < 5'000; ++round) {
    const uint64_t sum = (random() >> Below(random, 64)) | 1;
    const uint16_t folded = FoldSum(sum);
    if (folded == 0 || folded % 0xffff != sum % 0xffff) FAIL(sum);
    const uint64_t other = random();
    const auto both = static_cast<Uint128>(sum) + other;
    if (FoldSum(word_sum::Add(sum, other)) % 0xffff != static_cast<uint64_t>(both % 0xffff))
      FAIL(sum << other);
  }
}

}  // namespace
}  // namespace sluice
