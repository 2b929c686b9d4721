// SPDX-License-Identifier: Apache-2.0
// Software verbs devices as text.
#include "sluice/nic/software_verbs_config.h"

#include <catch2/catch.hpp>

namespace sluice {
namespace {

std::string Refusal(const std::string& text) {
  return std::string(ParseSoftwareVerbs("x.conf", text).status().message());
}

TEST_CASE("a configuration of software verbs devices says what they are") {
  const auto read = ParseSoftwareVerbs("x.conf",
                                       "# two devices\n"
                                       "device soft0\n"
                                       "  mac 02:00:00:00:00:30   # as it likes\n"
                                       "  wire shm /tmp/cable server\n"
                                       "\n"
                                       "device soft1\n"
                                       "  mtu 9000\n"
                                       "  profile poor\n"
                                       "  patience 50\n"
                                       "  loopback no\n");
  REQUIRE(read.ok());
  REQUIRE(read->size() == 2);
  const SoftwareVerbsConfig &first = (*read)[0], &second = (*read)[1];
  CHECK(first.options.name == "soft0");
  CHECK(first.options.mac.ToString() == "02:00:00:00:00:30");
  CHECK(first.wire == std::vector<std::string>{"shm", "/tmp/cable", "server"});
  CHECK(first.options.multicast_loopback);
  CHECK(second.options.mac.ToString() == "02:00:00:00:00:02");
  CHECK(second.options.mtu == 9000);
  CHECK(second.options.hardware.max_work_queues == 0);
  CHECK(second.options.patience == absl::Milliseconds(50));
  CHECK_FALSE(second.options.multicast_loopback);
  CHECK(second.wire == std::vector<std::string>{"null"});
}

TEST_CASE("a wrong line of a configuration is named, with what could stand there") {
  CHECK_THAT(Refusal(""), Catch::Contains("device soft0"));
  CHECK_THAT(Refusal("mtu 1500\n"), Catch::Contains("x.conf:1") && Catch::Contains("begin with a device"));
  CHECK_THAT(Refusal("device a\ndevice a\n"), Catch::Contains("x.conf:2") && Catch::Contains("another name"));
  CHECK_THAT(Refusal("device a\nmac 1:2\n"), Catch::Contains("\"1:2\" is no address"));
  CHECK_THAT(Refusal("device a\n\nwire shm /tmp/x\n"),
             Catch::Contains("x.conf:3") && Catch::Contains("server | client"));
  CHECK_THAT(Refusal("device a\nwire carrier-pigeon\n"),
             Catch::Contains("null, loop, pair, shm, packet, tap or pcap"));
  CHECK_THAT(Refusal("device a\nprofile best\n"), Catch::Contains("good or poor"));
  CHECK_THAT(Refusal("device a\ncolour blue\n"), Catch::Contains("mac, mtu, profile"));
  CHECK_THAT(Refusal("device a\nmtu many\n"), Catch::Contains("a number"));
}

TEST_CASE("faults of a configuration add up, line by line") {
  const auto read = ParseSoftwareVerbs("x.conf",
                                       "device a\n"
                                       "  fault send lose 0.25\n"
                                       "  fault send lose frame 7\n"
                                       "  fault receive reorder 0.5 by 9\n"
                                       "  fault receive delay frame 2 by 30\n"
                                       "  fault late 40\n"
                                       "  fault overrun yes\n"
                                       "  fault seed 11\n"
                                       "  control /run/a.sock\n");
  REQUIRE(read.ok());
  const SoftwareVerbsOptions& options = (*read)[0].options;
  CHECK(options.control == "/run/a.sock");
  const SoftwareVerbsFaults& faults = options.faults;
  CHECK(faults.send.lose_chance == 0.25);
  CHECK(faults.send.lose == std::vector<uint64_t>{7});
  CHECK((faults.receive.reorder_chance == 0.5 && faults.receive.reorder_by == 9));
  CHECK(faults.receive.delay == std::vector<uint64_t>{2});
  CHECK(faults.receive.delay_time == absl::Microseconds(30));
  CHECK(faults.completions_late == absl::Microseconds(40));
  CHECK((faults.overrun && faults.seed == 11));
}

TEST_CASE("a fault that there is not is refused with those that there are") {
  for (const char* fault :
       {"", "lose", "send", "send lose", "send lose 1.5", "send lose -1", "send lose frame",
        "send lose frame 0", "send lose 0.1 by 3", "send reorder 0.1 by", "both lose 0.1", "overrun maybe",
        "late soon", "none at all", "seed", "send lose nan"}) {
    CAPTURE(fault);
    CHECK_THAT(Refusal(std::string("device a\nfault ") + fault + "\n"),
               Catch::Contains("x.conf:2") && Catch::Contains("fault none | seed N"));
  }
}

TEST_CASE("a configuration that cannot be read says which file and why") {
  const std::string message(ReadSoftwareVerbs("/nowhere/x.conf").status().message());
  CHECK_THAT(message, Catch::Contains("/nowhere/x.conf") && Catch::Contains("ENOENT"));
}

TEST_CASE("the two ends of a pair are one cable") {
  const auto read = ParseSoftwareVerbs("x.conf", "device a\nwire pair p\ndevice b\nwire pair p\n");
  REQUIRE(read.ok());
  auto a = MakeSoftwareVerbsWire((*read)[0]), b = MakeSoftwareVerbsWire((*read)[1]);
  REQUIRE((a.ok() && b.ok()));
  auto pool = PacketPool::Create({.packets = 512});
  REQUIRE((*a)->Open({.pool = pool->get()}).ok());
  CHECK((*a)->link() == LinkState::kDown);
  REQUIRE((*b)->Open({.pool = pool->get()}).ok());
  CHECK((*a)->link() == LinkState::kUp);
}

TEST_CASE("GID 0 is the link-local address of the port") {
  const std::array<uint8_t, 16> gid = SoftwareVerbsGid(MacAddress({0x02, 0x11, 0x22, 0x33, 0x44, 0x55}));
  const std::array<uint8_t, 16> wanted = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                          0x00, 0x11, 0x22, 0xff, 0xfe, 0x33, 0x44, 0x55};
  CHECK(gid == wanted);
}

}  // namespace
}  // namespace sluice
