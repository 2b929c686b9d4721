// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/snapshot.h"

#include <boost/json.hpp>

#include "tests/control/engine_rig.h"

namespace sluice::testing {
namespace {

namespace json = boost::json;

// Two guests, one frame from one to the other, one to nobody's port.
struct AfterSomeTraffic : EngineRig {
  Guest one = Add("one"), two = Add("two");
  AfterSomeTraffic() {
    one.Send(*pool, FrameBetween(1, 2));
    two.Send(*pool, FrameBetween(2, 1));
    one.Send(*pool, FrameBetween(1, 1));  // same segment: dropped
    Settle();
  }
};

TEST_CASE("a snapshot tells ports, queues, workers, addresses, drops and buffers") {
  AfterSomeTraffic rig;
  const Snapshot taken = rig.engine->snapshot();
  REQUIRE(taken.ports.size() == 2);
  CHECK(taken.ports[0].name == "one");
  CHECK(taken.ports[0].nic == rig.engine->nic(rig.one.port)->name());
  CHECK(taken.ports[0].link == LinkState::kUp);
  CHECK(taken.ports[0].rx.at(0).stats.packets == 2);
  CHECK(taken.ports[1].tx.at(0).stats.packets == 1);
  CHECK(taken.ports[0].switching.drops[DropReason::kSameSegment] == 1);
  CHECK(taken.addresses.size() == 2);
  CHECK(taken.workers.at(0).stats.packets == 3);
  CHECK(taken.pool.packets == rig.pool->options().packets);
}

TEST_CASE("the books of a snapshot balance, and would not without one of their parts") {
  AfterSomeTraffic rig;
  Snapshot taken = rig.engine->snapshot();
  const Balance balance = BalanceOf(taken);
  CHECK(balance.received == 3);
  CHECK(balance.sent == 2);
  CHECK(balance.drops.total() == 1);
  CHECK(balance.difference() == 0);
  ++taken.ports[0].rx[0].stats.packets;
  CHECK(BalanceOf(taken).difference() == 1);
}

TEST_CASE("the JSON of a snapshot is read by a JSON reader and says the same") {
  AfterSomeTraffic rig;
  const Snapshot taken = rig.engine->snapshot();
  const json::object read = json::parse(ToJson(taken)).as_object();
  const json::object& one = read.at("ports").as_array().at(0).as_object();
  CHECK(one.at("name") == "one");
  CHECK(one.at("link") == "up");
  CHECK(one.at("rx").at(0).at("packets") == 2);
  CHECK(one.at("switch").at("drops").at("same-segment") == 1);
  CHECK(read.at("addresses").as_array().size() == 2);
  CHECK(read.at("workers").at(0).at("mode") == "interrupt");
  CHECK(read.at("balance").at("difference") == 0);
}

TEST_CASE("names with quotes and control characters stay valid JSON") {
  EngineRig rig;
  Guest odd = rig.Add("a\"b\\c\nd");
  const json::value read = json::parse(ToJson(rig.engine->snapshot()));
  CHECK(read.at("ports").at(0).at("name") == "a\"b\\c\nd");
}

TEST_CASE("the text of a snapshot names each port, and each drop with its reason") {
  AfterSomeTraffic rig;
  const std::string text = ToText(rig.engine->snapshot());
  for (const char* expected :
       {"one", "two", "same-segment", "received 3 + copied 0 = sent 2 + held 0 + dropped 1"}) {
    INFO(expected << " in\n" << text);
    CHECK(text.find(expected) != std::string::npos);
  }
}

}  // namespace
}  // namespace sluice::testing
