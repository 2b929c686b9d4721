// SPDX-License-Identifier: Apache-2.0
// The reader of an mlx5 card's rings on completions that are written here byte by byte, as the places are in struct
// mlx5_cqe64 of mlx5dv.h, and blocks as mlx5_rx_poll_len of DPDK and mlx5e_decompress_cqes_start of Linux take them apart.
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <optional>
#include <vector>

#include "nic/verbs/mlx5_receiver_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kPlaces = 32, kSegments = 16;

// Memory as a card and its driver share it, written as a card would.
class Rings {
 public:
  Rings() {
    for (uint32_t i = 0; i < kPlaces; ++i) completions_[i][63] = 0xf0;
  }

  Mlx5Receiver Receiver() {
    return Mlx5Receiver({.completions = reinterpret_cast<Mlx5Completion*>(completions_.data()),
                         .completion_count = kPlaces,
                         .completion_records = records_.data(),
                         .event_register = &register_,
                         .completion_queue = 0x55,
                         .segments = segments_.data(),
                         .segment_count = kSegments,
                         .segment_record = &posted_});
  }

  using Bytes = std::array<uint8_t, 64>;
  Bytes& At(uint64_t place) { return completions_[place % kPlaces]; }
  void Give(uint64_t place, uint8_t opcode_and_format) {
    At(place)[63] = static_cast<uint8_t>(opcode_and_format | (place / kPlaces % 2));
  }
  // A frame, without anything but its length and its number.
  void Put(uint64_t place, uint16_t bytes, uint16_t counter) {
    At(place) = {};
    PutWords(At(place), bytes, counter);
    Give(place, 0x20);
  }
  // The same of `lengths.size()` frames, in a block, whose hashes are their lengths and 0x1000.
  void PutBlock(uint64_t place, uint16_t counter, const std::vector<uint16_t>& lengths) {
    const auto members = static_cast<uint16_t>(lengths.size());
    for (size_t i = 0; i < members; ++i) {
      Bytes& minis = At(place + (i < 8 ? 1 : i / 8 * 8));
      const size_t at = i % 8 * 8;
      if (at == 0) minis = {};
      minis[at + 2] = static_cast<uint8_t>(0x10 | lengths[i] >> 8);
      minis[at + 3] = minis[at + 7] = static_cast<uint8_t>(lengths[i]);
      minis[at + 6] = static_cast<uint8_t>(lengths[i] >> 8);
    }
    At(place) = {};
    PutWords(At(place), members, counter);
    Give(place, 0x2c);
  }
  uint32_t read() const { return Swapped(records_[0]); }
  uint32_t asked() const { return Swapped(records_[1]); }
  uint64_t rung() const { return __builtin_bswap64(register_); }
  uint32_t posted() const { return Swapped(posted_); }
  const uint8_t* segment(uint32_t i) const { return reinterpret_cast<const uint8_t*>(&segments_[i]); }

 private:
  static uint32_t Swapped(uint32_t record) { return __builtin_bswap32(record); }
  static void PutWords(Bytes& completion, uint16_t bytes, uint16_t counter) {
    completion[46] = static_cast<uint8_t>(bytes >> 8);
    completion[47] = static_cast<uint8_t>(bytes);
    completion[60] = static_cast<uint8_t>(counter >> 8);
    completion[61] = static_cast<uint8_t>(counter);
  }

  alignas(64) std::array<Bytes, kPlaces> completions_{};
  std::array<Mlx5Segment, kSegments> segments_{};
  std::array<uint32_t, 2> records_{};
  uint64_t register_ = 0;
  uint32_t posted_ = 0;
};

// Lengths and counters of all that there is to read.
std::vector<std::pair<uint32_t, uint16_t>> ReadAll(Mlx5Receiver& receiver) {
  std::vector<std::pair<uint32_t, uint16_t>> all;
  for (Mlx5Arrival arrival; receiver.Next(arrival);) all.emplace_back(arrival.bytes, arrival.counter);
  return all;
}

TEST_CASE("a completion of an mlx5 card is read field by field from its places") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  Rings::Bytes& at = rings.At(0);
  at[0] = 0x01;                                                // in a tunnel
  at[12] = 0xde, at[13] = 0xad, at[14] = 0xbe, at[15] = 0xef;  // rx_hash_res
  at[16] = 0x44;                                               // rx_hash_type: IPv4, TCP
  at[28] = 0x06, at[29] = 0x49, at[30] = 0x12, at[31] = 0x34;  // hds_ip_ext, l4_hdr_type_etc, vlan_info
  at[44] = 0x00, at[45] = 0x01, at[46] = 0x02, at[47] = 0x03;  // byte_cnt
  at[48] = 0x11, at[55] = 0x22;                                // timestamp
  at[56] = 0x0a, at[57] = 0x00, at[58] = 0x00, at[59] = 0x4d;  // sop_drop_qpn
  at[60] = 0xab, at[61] = 0xcd;                                // wqe_counter
  rings.Give(0, 0x20);
  Mlx5Arrival arrival;
  REQUIRE(receiver.Next(arrival));
  CHECK(arrival.bytes == 0x00010203);
  CHECK(arrival.hash == 0xdeadbeef);
  CHECK(arrival.counter == 0xabcd);
  const Mlx5Completion& said = *arrival.said;
  CHECK(said.tunnel == Mlx5Completion::kTunnel);
  CHECK(said.hash_kind == 0x44);
  CHECK(said.verdicts == (Mlx5Completion::kL3Good | Mlx5Completion::kL4Good));
  CHECK((said.headers & Mlx5Completion::kTagTaken) != 0);
  CHECK(said.vlan_tci.get() == 0x1234);
  CHECK(said.stamp.get() == 0x1100000000000022);
  CHECK((said.mark.get() & Mlx5Completion::kMarkMask) == 0x4d);
  CHECK(OpcodeOf(said.owner) == Mlx5Opcode::kReceived);
  CHECK_FALSE(receiver.Next(arrival));
}

TEST_CASE("a place of an mlx5 card's ring is not read before its owner turns round after round") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  Mlx5Arrival arrival;
  for (uint64_t i = 0; i < 5 * kPlaces; ++i) {
    CHECK_FALSE(receiver.Next(arrival));  // what was there in the last round is no news
    rings.Put(i, static_cast<uint16_t>(64 + i), static_cast<uint16_t>(i));
    REQUIRE(receiver.Next(arrival));
    CHECK(arrival.bytes == 64 + i);
    CHECK(rings.read() == i);
    receiver.Release();
    CHECK(rings.read() == i + 1);
  }
}

TEST_CASE("a block of an mlx5 card's completions is taken apart and leaves its places empty") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  const auto members =
      GENERATE(size_t{2}, size_t{7}, size_t{8}, size_t{9}, size_t{16}, size_t{17}, size_t{32});
  uint64_t place = 0;
  for (uint16_t round = 0; round < 50; ++round) {
    std::vector<uint16_t> lengths;
    std::vector<std::pair<uint32_t, uint16_t>> all;
    for (size_t i = 0; i < members; ++i) {
      lengths.push_back(static_cast<uint16_t>(60 + round + i));
      all.emplace_back(lengths.back(), static_cast<uint16_t>(round * 1000 + i));
    }
    rings.PutBlock(place, static_cast<uint16_t>(round * 1000), lengths);
    CHECK(ReadAll(receiver) == all);
    receiver.Release();
    place += members;
    CHECK(rings.read() == place);
    if (round % 3 != 0) continue;  // and now and then one by itself
    rings.Put(place++, 999, 7);
    CHECK(ReadAll(receiver) == std::vector<std::pair<uint32_t, uint16_t>>{{999, 7}});
    receiver.Release();
  }
}

TEST_CASE("a block of an mlx5 card's completions may be read in parts and is released as a whole") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  rings.At(0)[16] = 0x44;
  std::vector<uint16_t> lengths(12, 100);
  rings.PutBlock(0, 65530, lengths);  // the counter passes its end
  rings.At(0)[28] = 0x06;
  Mlx5Arrival arrival;
  for (uint32_t i = 0; i < 12; ++i) {
    REQUIRE(receiver.Next(arrival));
    CHECK(arrival.hash == 0x1000 + 100);
    CHECK(arrival.counter == static_cast<uint16_t>(65530 + i));
    CHECK(arrival.said->verdicts == 0x06);  // of the title, for all of them
    receiver.Release();
    CHECK(rings.read() == (i < 11 ? 0u : 12u));
  }
  CHECK_FALSE(receiver.Next(arrival));
}

TEST_CASE("a block that says that it has none one or more than the ring holds spoils the ring for good") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  rings.Put(0, 64, 0);
  rings.Put(1, GENERATE(uint16_t{0}, uint16_t{1}, uint16_t{kPlaces + 1}, uint16_t{0xffff}), 1);
  rings.Give(1, 0x2c);
  CHECK(ReadAll(receiver).size() == 1);
  CHECK(receiver.spoilt());
  CHECK(ReadAll(receiver).empty());
  CHECK(receiver.spoilt());
}

TEST_CASE("an error of an mlx5 card tells its syndrome and its request") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  rings.At(0)[55] = 0x05;  // struct mlx5_err_cqe
  rings.At(0)[61] = 9;
  rings.Give(0, 0xe0);
  Mlx5Arrival arrival;
  REQUIRE(receiver.Next(arrival));
  CHECK(OpcodeOf(arrival.said->owner) == Mlx5Opcode::kReceiveFailed);
  CHECK(static_cast<Mlx5Syndrome>(arrival.said->stamp.get() & 0xff) == Mlx5Syndrome::kFlushed);
  CHECK(receiver.IsOf(arrival, 9));
  CHECK(receiver.IsOf(arrival, 9 + kSegments));
  CHECK_FALSE(receiver.IsOf(arrival, 10));
}

TEST_CASE("buffers are posted as segments in big-endian words and counted modulo 65536") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  receiver.Prepare(0x0780, 0x01020304);
  auto pool = *PacketPool::Create({.packets = 4, .huge_pages = HugePages::kOff});
  const PacketPtr packet = pool->GetOne();
  Packet* const one = packet.get();
  for (uint32_t i = 1; i <= 65537; ++i) {
    receiver.Post(&one, 1, 128);
    if (rings.posted() != (i & 0xffff)) FAIL(i);
  }
  const std::array<uint8_t, 8> head = {0, 0, 0x07, 0x80, 1, 2, 3, 4};
  CHECK(std::memcmp(rings.segment(3), head.data(), head.size()) == 0);
  uint64_t address = 0;
  std::memcpy(&address, rings.segment(3) + 8, sizeof(address));
  CHECK(__builtin_bswap64(address) == reinterpret_cast<uintptr_t>(one->buffer()) + 128);
}

TEST_CASE("an event is asked for by record and register each time with the number of the last") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  for (uint16_t i = 0; i < 5; ++i) rings.Put(i, 64, i);
  ReadAll(receiver);
  receiver.Release();
  for (uint32_t events = 0; events < 6; ++events) {
    receiver.Arm();
    CHECK(rings.asked() == ((events & 3) << 28 | 5));
    CHECK(rings.rung() == (uint64_t{rings.asked()} << 32 | 0x55));
    receiver.CountEvents(1);
  }
}

TEST_CASE("a queue that starts anew passes over what came and counts the frames") {
  Rings rings;
  Mlx5Receiver receiver = rings.Receiver();
  auto pool = *PacketPool::Create({.packets = 4, .huge_pages = HugePages::kOff});
  const PacketPtr packet = pool->GetOne();
  Packet* const one = packet.get();
  receiver.Post(&one, 1, 0);
  rings.PutBlock(0, 0, {64, 65, 66});
  rings.Put(3, 64, 3);
  rings.Put(4, 0, 4);
  rings.Give(4, 0xe0);
  CHECK(receiver.Restart() == 4);
  CHECK(rings.read() == 5);
  CHECK(rings.posted() == 0);
  rings.Put(5, 64, 0);
  CHECK(ReadAll(receiver).size() == 1);
}

}  // namespace
}  // namespace sluice::testing
