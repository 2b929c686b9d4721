// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "host/address_table_internal.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

AddressTable TableOf(uint32_t max_addresses, uint64_t seed) {
  return AddressTable({.max_addresses = max_addresses, .max_ports = 4, .ageing = 300, .seed = seed});
}

TEST_CASE("a table takes as many addresses as it was made for, wherever they fall") {
  const uint64_t seed = PrintedSeed();
  Random random(seed);
  for (const uint32_t size : {4096u, 8192u, 65536u}) {
    AddressTable table(AddressTable::Options{.max_addresses = size, .seed = random()});
    table.SetBound(PortId{1}, size);
    std::set<AddressKey> keys;
    uint64_t evicted = 0;
    while (keys.size() < size) {
      const AddressKey key = random() & kAddressKeyMask;
      if (!keys.insert(key).second) continue;
      REQUIRE(table.Learn(table.Mix(key), PortId{1}, 0, evicted) == AddressTable::Learned::kNew);
    }
    CHECK(evicted == 0);
    for (const AddressKey key : keys) {
      REQUIRE(table.Find(table.Mix(key), 0) == 1);
      REQUIRE(table.Refresh(table.Mix(key), PortId{1}, 1));
      REQUIRE_FALSE(table.Refresh(table.Mix(key), PortId{2}, 1));
    }
    // Each has its own stamp, not a neighbour's.
    for (const AddressTable::Entry& entry : table.List(1)) REQUIRE(entry.age == 0);
    CHECK(table.size(PortId{1}) == size);
  }
}

TEST_CASE("mixing loses nothing: what is listed is what was learned") {
  const uint64_t seed = PrintedSeed();
  Random random(seed);
  AddressTable table = TableOf(4096, seed);
  for (uint16_t port = 0; port < 4; ++port) table.SetBound(PortId{port}, 1024);
  std::map<AddressKey, uint16_t> learned;
  uint64_t evicted = 0;
  for (uint16_t i = 0; i < 4096; ++i) {
    const AddressKey key = MakeAddressKey(static_cast<uint16_t>(Below(random, 4096)), random() >> 16);
    learned[key] = i % 4;
    table.Learn(table.Mix(key), PortId(i % 4), 7, evicted);
  }
  std::map<AddressKey, uint16_t> listed;
  for (const AddressTable::Entry& entry : table.List(9)) {
    listed[entry.key] = entry.port.value();
    CHECK(entry.age == 2);
  }
  CHECK(listed == learned);
}

TEST_CASE("against a map, over random learning, moving, ageing and sweeping") {
  const uint64_t seed = PrintedSeed();
  Random random(seed);
  AddressTable table = TableOf(1024, seed);
  for (uint16_t port = 0; port < 4; ++port) table.SetBound(PortId{port}, 1024);
  struct Seen {
    uint16_t port;
    Tick at;
  };
  std::map<AddressKey, Seen> twin;
  uint64_t evicted = 0;
  for (uint32_t step = 0; step < 60'000; ++step) {
    const auto now = static_cast<Tick>(step / 8 + 60'000);  // wraps on the way
    const AddressKey key = Below(random, 700);
    const auto port = static_cast<uint16_t>(Below(random, 4));
    if (step % 3 == 0) {
      if (!table.Refresh(table.Mix(key), PortId{port}, now))
        table.Learn(table.Mix(key), PortId{port}, now, evicted);
      twin[key] = {port, now};
    }
    if (step % 50 == 0) table.Expire(now, 64);
    const auto found = twin.find(key);
    const bool known = found != twin.end() && static_cast<Tick>(now - found->second.at) <= 300;
    REQUIRE(table.Find(table.Mix(key), now) == (known ? found->second.port : AddressTable::kNowhere));
  }
  CHECK(evicted == 0);
}

TEST_CASE("while one holds the learner nobody else gets it, and then somebody does") {
  AddressTable table = TableOf(1024, 1);
  {
    const AddressTable::Learner first(table);
    CHECK(first);
    CHECK_FALSE(AddressTable::Learner(table));
  }
  CHECK(AddressTable::Learner(table));
}

TEST_CASE("lowering a bound forgets what is above it, and no other port's") {
  AddressTable table = TableOf(4096, 1);
  table.SetBound(PortId{0}, 100);
  table.SetBound(PortId{1}, 100);
  uint64_t evicted = 0;
  for (AddressKey key = 0; key < 200; ++key) table.Learn(table.Mix(key), PortId(key % 2), 0, evicted);
  table.SetBound(PortId{0}, 10);
  CHECK(table.size(PortId{0}) == 10);
  CHECK(table.size(PortId{1}) == 100);
  CHECK(table.Forget(PortId{1}) == 100);
  CHECK(table.List(0).size() == 10);
}

}  // namespace
}  // namespace sluice::testing
