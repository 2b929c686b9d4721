// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/ids.h"

#include <catch2/catch.hpp>
#include <type_traits>

#include "absl/container/flat_hash_set.h"

namespace sluice {
namespace {

// An id is as cheap as its number, and never taken for another kind of id or for a bare number.
static_assert(sizeof(QueueId) == sizeof(uint16_t));
static_assert(std::is_trivially_copyable_v<QueueId>);
static_assert(!std::is_convertible_v<uint16_t, QueueId>);
static_assert(!std::is_convertible_v<PortId, QueueId>);
static_assert(!std::is_constructible_v<PortId, QueueId>);

TEST_CASE("ids compare and hash by their number") {
  CHECK(QueueId(3) == QueueId(3));
  CHECK(QueueId(3) < QueueId(4));
  const absl::flat_hash_set<QueueId> set = {QueueId(1), QueueId(2), QueueId(1)};
  CHECK(set.size() == 2);
  CHECK(set.contains(QueueId(2)));
}

TEST_CASE("an id that was not given is zero, which is nobody for owners") {
  CHECK(QueueId().value() == 0);
  CHECK(OwnerId() == kNobody);
  CHECK(kUnknownNode.value() == -1);
}

}  // namespace
}  // namespace sluice
