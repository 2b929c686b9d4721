// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/snapshot.h"

#include <boost/json.hpp>
#include <sstream>

#include "tests/control/engine_rig.h"

namespace sluice::testing {
namespace {

namespace json = boost::json;

// Two guests, one frame from one to the other, one to nobody's port.
struct AfterSomeTraffic : EngineRig {
  FarEnd one = Add("one"), two = Add("two");
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

// A snapshot in which no two numbers are the same, and each of them is seen to be in its JSON.
class Numbered {
 public:
  Numbered() {
    snapshot.taken = Next();
    snapshot.pool = {.name = "pool-name", .packets = static_cast<uint32_t>(Next()), .available = Next()};
    snapshot.ports.push_back(
        {.id = PortId{7},
         .name = "port-name",
         .nic = "nic-name",
         .modes = {{.name = "mode-name", .reason = "mode-reason"}},
         .features = "feature-name",
         .rx = {{.id = QueueId{3}, .worker = WorkerId{4}, .stats = Queue()}},
         .tx = {{.id = QueueId{5}, .worker = WorkerId{6}, .stats = Queue()}},
         .nic_drops = Drops(),
         .switching = {.received = Next(), .sent = Next(), .held = Next(), .drops = Drops()},
         .handed_over = Next()});
    snapshot.workers.push_back(
        {.id = WorkerId{4}, .stats = {Next(), Next(), Next(), Next(), Next(), Next()}});
    SwitchStats& s = snapshot.l2_switch;
    for (uint64_t* field :
         {&s.received, &s.sent, &s.held, &s.copies, &s.learned, &s.moved, &s.evicted, &s.expired,
          &s.learn_busy, &s.learn_full, &s.unknown, &s.multicast, &s.reserved}) {
      *field = Next();
    }
    s.drops = Drops();
    s.retired_drops = Drops();
    snapshot.addresses.push_back(
        {.vlan = 77, .address = MacAddress({2, 0, 0, 0, 0, 9}), .port = PortId{7}, .age = absl::Seconds(5)});
    snapshot.departed = {.received = Next(), .sent = Next(), .receive_drops = Drops(), .send_drops = Drops()};
    snapshot.dropped_between = Drops();
  }

  Snapshot snapshot;
  std::vector<uint64_t> numbers;

 private:
  uint64_t Next() { return numbers.emplace_back(1'000'000 + numbers.size()); }
  DropCounts Drops() {
    DropCounts drops;
    for (uint64_t& count : drops.by_reason) count = Next();
    return drops;
  }
  QueueStats Queue() {
    return {.packets = Next(), .bytes = Next(), .wakeups = Next(), .drops = Drops(), .copied = Next()};
  }
};

TEST_CASE("every number and name of a snapshot is in its JSON") {
  const Numbered made;
  const std::string text = ToJson(made.snapshot);
  for (const uint64_t number : made.numbers) {
    INFO(number);
    CHECK(text.find(std::to_string(number)) != std::string::npos);
  }
  for (const char* name : {"pool-name", "port-name", "nic-name", "mode-name", "mode-reason", "feature-name",
                           "02:00:00:00:00:09"}) {
    INFO(name);
    CHECK(text.find(name) != std::string::npos);
  }
}

TEST_CASE("every port, queue, worker, mode, address and drop of a snapshot is in its text") {
  const Numbered made;
  const std::string text = ToText(made.snapshot);
  const PortSnapshot& port = made.snapshot.ports[0];
  std::vector<uint64_t> shown = {port.rx[0].stats.packets,
                                 port.rx[0].stats.bytes,
                                 port.tx[0].stats.wakeups,
                                 port.switching.received,
                                 made.snapshot.workers[0].stats.packets,
                                 made.snapshot.l2_switch.evicted};
  for (const DropCounts& drops : {port.nic_drops, port.switching.drops, made.snapshot.l2_switch.retired_drops,
                                  made.snapshot.departed.receive_drops, made.snapshot.departed.send_drops,
                                  made.snapshot.dropped_between}) {
    shown.insert(shown.end(), drops.by_reason.begin(), drops.by_reason.end());
  }
  for (const uint64_t number : shown) {
    INFO(number << " in\n" << text);
    CHECK(text.find(std::to_string(number)) != std::string::npos);
  }
  CHECK(text.find("02:00:00:00:00:09") != std::string::npos);
}

TEST_CASE("the text tells how often bytes were copied in a queue, and nothing where that is not counted") {
  Numbered made;
  QueueStats& stats = made.snapshot.ports[0].rx[0].stats;
  stats.bytes = 4000;
  stats.copied = 1000;
  CHECK(ToText(made.snapshot).find("   0.25 ") != std::string::npos);
  stats.copied.reset();
  CHECK(ToText(made.snapshot).find("   0.25 ") == std::string::npos);
  CHECK(ToJson(made.snapshot).find("\"copied\":null") != std::string::npos);
}

// What stands in the rows of the drop table, and in its last.
std::pair<uint64_t, uint64_t> DropTable(const std::string& text) {
  std::istringstream lines(text.substr(text.find("dropped at")));
  uint64_t sum = 0;
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);) {
    const uint64_t count = std::stoull(line.substr(44, 12));
    if (line.starts_with("sum ")) return {sum, count};
    sum += count;
  }
  return {sum, 0};
}

TEST_CASE("the drop table adds up to all that is missing, also where ports are gone and devices dropped") {
  AfterSomeTraffic rig;
  FarEnd three = rig.Add("three");
  for (int i = 0; i < 5; ++i) three.Send(*rig.pool, FrameBetween(3, 3));  // to itself: the switch drops them
  rig.Settle();
  for (int i = 0; i < 7; ++i) three.Send(*rig.pool, FrameBetween(3, 1));  // in the device when its port goes
  REQUIRE(rig.engine->RemovePort(three.port).ok());

  const Snapshot taken = rig.engine->snapshot();
  CHECK(taken.departed.receive_drops[DropReason::kStopped] == 7);
  CHECK(taken.l2_switch.retired_drops[DropReason::kSameSegment] == 5);
  CHECK(AllDrops(taken).total() == 1 + 5 + 7);
  CHECK(DropTable(ToText(taken)) == std::pair<uint64_t, uint64_t>{13, 13});
  CHECK(BalanceOf(taken).difference() == 0);
}

TEST_CASE("names with quotes and control characters stay valid JSON") {
  EngineRig rig;
  FarEnd odd = rig.Add("a\"b\\c\nd");
  const json::value read = json::parse(ToJson(rig.engine->snapshot()));
  CHECK(read.at("ports").at(0).at("name") == "a\"b\\c\nd");
}

TEST_CASE("a port whose device is gone says so, in the text and in JSON") {
  AfterSomeTraffic rig;
  Snapshot taken = rig.engine->snapshot();
  CHECK(ToText(taken).find("gone") == std::string::npos);
  CHECK(json::parse(ToJson(taken)).at("ports").at(0).at("gone") == false);
  taken.ports[0].gone = true;
  CHECK(ToText(taken).find(" gone ") != std::string::npos);
  CHECK(json::parse(ToJson(taken)).at("ports").at(0).at("gone") == true);
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
