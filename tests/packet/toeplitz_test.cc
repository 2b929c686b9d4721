// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <catch2/catch.hpp>

#include "packet/toeplitz_internal.h"
#include "tests/packet/bitwise_toeplitz.h"
#include "tests/packet/simd_levels.h"
#include "tests/support/frames.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // BitwiseToeplitz is the twin

void Fill(Random& random, uint8_t* bytes, size_t n) {
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(random());
}

Bytes RandomKey(Random& random, size_t size = kLongRssKeySize) {
  Bytes key(size);
  Fill(random, key.data(), size);
  return key;
}

template <typename T>
absl::Span<const uint8_t> BytesOfObject(const T& object) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&object), sizeof(object));
}

// Input `i` of the first `columns` columns.
Bytes InputOf(const ToeplitzInputs& inputs, size_t columns, size_t i) {
  Bytes input;
  for (size_t column = 0; column < columns; ++column) {
    input.insert(input.end(), inputs.columns[column][i].begin(), inputs.columns[column][i].end());
  }
  return input;
}

TEST_CASE(
    "at every level, any number of inputs of any columns hash as bit by bit, and no other hash is written") {
  Random random(PrintedSeed());
  ToeplitzInputs inputs;
  for (size_t count = 0; count <= Burst::kCapacity; ++count) {
    const Bytes key = RandomKey(random);
    const size_t columns = 1 + count % kToeplitzColumns;
    Fill(random, inputs.columns[0][0].data(), sizeof(inputs));
    for (const SimdLevel level : SimdLevelsHere()) {
      std::vector<uint32_t> hashes(Burst::kCapacity + 4, 0xdead);
      ToeplitzHashes.At(level)(ToeplitzKey(key), inputs, columns, count, hashes.data());
      for (size_t i = 0; i < hashes.size(); ++i) {
        const uint32_t expected = i < count ? BitwiseToeplitz(key, InputOf(inputs, columns, i)) : 0xdead;
        if (hashes[i] != expected) FAIL(i << " of " << count << ", level " << static_cast<int>(level));
      }
    }
  }
}

// What GF2P8AFFINEQB does to each byte, as its manual writes it: bit i is the parity of the byte and row 7 - i.
uint8_t EmulatedAffine(uint64_t matrix, uint8_t byte) {
  uint8_t product = 0;
  for (int i = 0; i < 8; ++i) {
    const auto row = static_cast<uint8_t>(matrix >> (8 * (7 - i)));
    product = static_cast<uint8_t>(product | (std::popcount(static_cast<uint8_t>(row & byte)) & 1) << i);
  }
  return product;
}

TEST_CASE("the matrix given to GFNI turns round the bits of every byte, on processors without GFNI too") {
  for (int byte = 0; byte < 256; ++byte) {
    int reversed = 0;
    for (int i = 0; i < 8; ++i) reversed |= (byte >> i & 1) << (7 - i);
    CHECK(EmulatedAffine(kBitReversal, static_cast<uint8_t>(byte)) == reversed);
  }
}

// "Verifying the RSS Hash Calculation", Windows driver documentation: the first of each family.
TEST_CASE("Microsoft's published hashes come out at every level") {
  const RssTuple4 four{Ipv4Address({66, 9, 149, 187}), Ipv4Address({161, 142, 100, 80}), uint16_t{2794},
                       uint16_t{1766}};
  const RssTuple6 six{Ipv6Address::Parse("3ffe:2501:200:1fff::7").value(),
                      Ipv6Address::Parse("3ffe:2501:200:3::1").value(), uint16_t{2794}, uint16_t{1766}};
  const uint8_t no_ports[4] = {};
  ToeplitzInputs inputs = {};
  PutIpv4(four.source.bytes().data(), BytesOfObject(four).data() + 8, inputs, 0);
  PutIpv4(four.source.bytes().data(), no_ports, inputs, 1);
  PutIpv6(six.source.bytes().data(), BytesOfObject(six).data() + 32, inputs, 2);
  PutIpv6(six.source.bytes().data(), no_ports, inputs, 3);
  const std::vector<uint32_t> expected = {0x51ccc178, 0x323e8fc2, 0x40207d3d, 0x2cc18cd5};
  for (const SimdLevel level : SimdLevelsHere()) {
    std::vector<uint32_t> hashes(expected.size());
    ToeplitzHashes.At(level)(ToeplitzKey(kMicrosoftRssKey), inputs, kToeplitzColumns, hashes.size(),
                             hashes.data());
    CHECK(hashes == expected);
  }
}

template <typename Tuple>
void CheckTuples(Random& random, size_t count, size_t key_size) {
  const Bytes key = RandomKey(random, key_size);
  std::vector<Tuple> tuples(count);
  for (Tuple& tuple : tuples) Fill(random, reinterpret_cast<uint8_t*>(&tuple), sizeof(tuple));
  std::vector<uint32_t> hashes(count);
  ToeplitzKey(key).HashAll(tuples, absl::MakeSpan(hashes));
  for (size_t i = 0; i < count; ++i) {
    if (hashes[i] != BitwiseToeplitz(key, BytesOfObject(tuples[i]))) FAIL(i << " of " << count);
  }
}

TEST_CASE("tuples hash as their bytes do, however many there are, with keys of both lengths") {
  Random random(PrintedSeed());
  for (const size_t count : {0, 1, 3, 4, 5, 31, 32, 63, 64, 65, 200}) {
    CheckTuples<RssTuple4>(random, count, kRssKeySize);
    CheckTuples<RssTuple6>(random, count, kLongRssKeySize);
  }
}

TEST_CASE("a prepared key hashes inputs of every length up to its most as the plain function does") {
  Random random(PrintedSeed());
  for (size_t size = 0; size <= ToeplitzKey::kMaxInput; ++size) {
    const Bytes key = RandomKey(random, size + 4), input = RandomKey(random, size);
    CHECK(ToeplitzKey(key).Hash(input) == BitwiseToeplitz(key, input));
    CHECK(ToeplitzHash(key, input) == BitwiseToeplitz(key, input));
  }
}

}  // namespace
}  // namespace sluice
