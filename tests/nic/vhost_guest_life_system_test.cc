// SPDX-License-Identifier: Apache-2.0
// What happens to Linux guests under QEMU while they live, on a vhost-user port that must go along with it: queues come and go,
// memory too, machines are reset, or are wrong from the start.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/nic/guest_house.h"
#include "tests/support/figure.h"
#include "tests/support/qmp.h"

namespace sluice::testing {
namespace {

uint64_t NumberIn(const std::string& text) {
  uint64_t number = 0;
  std::istringstream(text) >> number;
  return number;
}

// Packets that came to the guest by other queues than its first, as its driver counts them.
uint64_t ReceivedBeside(Guest& guest) {
  return NumberIn(
      guest.MustRun("ethtool -S eth0 | awk '/rx_queue_[1-9]_packets/ { sum += $2 } END { print sum + 0 }'"));
}

// Streams whose connections all differ, so that their packets are spread over the guest's queues.
void CheckManyStreams(House& house) {
  CHECK(house.outside()
            .Run(absl::StrCat("for i in $(seq 16); do ", Guest::StreamProgram(),
                              " source 10.0.0.2 5000 65536 || exit 1; done"))
            .ok());
}

TEST_CASE("a guest is reached by those of its queues that it uses, while it uses fewer and more of them",
          "[vhost][guest]") {
  House house({.pairs = 4, .queues = 1});
  CHECK(Comes([&] { return house.Report().pairs_enabled == 2; }));  // one a processor, as its driver begins
  for (const int pairs : {1, 4, 2}) {
    house.guest().MustRun(absl::StrCat("ethtool -L eth0 combined ", pairs));
    CHECK(Comes([&] { return house.Report().pairs_enabled == pairs; }));
    const uint64_t before = ReceivedBeside(house.guest());
    house.CheckPings();
    CheckManyStreams(house);
    CHECK((ReceivedBeside(house.guest()) > before) == (pairs > 1));
  }
  for (int i = 0; i < 2; ++i) {
    house.guest().MustRun("ip link set eth0 down; ip link set eth0 up");
    house.CheckPings();
  }
  house.CheckTraffic();
}

bool AnyRuns(const VhostReport& report) {
  for (const VhostRingReport& ring : report.rings) {
    if (ring.running) return true;
  }
  return false;
}

TEST_CASE("a machine that is reset gives its rings back, and is served when it has booted again",
          "[vhost][guest]") {
  House house({.pairs = 2, .machine = "-action reboot=reset"});
  house.CheckPings();
  house.guest().monitor().Run("system_reset");
  CHECK(Comes([&] { return !AnyRuns(house.Report()); }));
  house.guest().AwaitBoot();
  SetUp(house.guest(), 2);
  house.CheckTraffic();
  CHECK(house.Report().connections == 1);
  CHECK(house.Report().bad_messages == 0);
  CHECK(house.guest().QemuOutput() == "");  // where it says that a ring was not given back
}

// Puts a memory module into a running machine.
constexpr uint64_t kModule = uint64_t{128} << 20;
void PlugMemory(Guest& guest, const std::string& name) {
  guest.monitor().Run(
      "object-add",
      {{"qom-type", "memory-backend-memfd"}, {"id", name + "-chip"}, {"size", kModule}, {"share", true}});
  guest.monitor().Run("device_add", {{"driver", "pc-dimm"}, {"id", name}, {"memdev", name + "-chip"}});
}
uint64_t KilobytesOf(Guest& guest) {
  return NumberIn(guest.MustRun("awk '/MemTotal/ { print $2 }' /proc/meminfo"));
}

TEST_CASE("a guest gets more memory while it streams, uses it for its packets, and gives some back",
          "[vhost][guest]") {
  House house({.machine = "-m 256M,slots=4,maxmem=1G"});
  Guest& guest = house.guest();
  guest.MustRun(
      "echo online_kernel >/sys/devices/system/memory/auto_online_blocks; "
      "(while [ ! -e /tmp/enough ]; do stream" +
      SourceTo(1) + "; done >/tmp/verdicts 2>&1; touch /tmp/over) >/dev/null 2>&1 &");
  const uint64_t mapped = house.Report().memory_bytes;
  const uint64_t before = KilobytesOf(guest);
  PlugMemory(guest, "more");
  CHECK(Comes([&] { return house.Report().memory_bytes == mapped + kModule; }));
  CHECK(Comes([&] { return KilobytesOf(guest) > before + kModule / 2048; }));
  guest.MustRun("echo online_movable >/sys/devices/system/memory/auto_online_blocks");
  PlugMemory(guest, "most");
  CHECK(Comes([&] { return KilobytesOf(guest) > before + 3 * (kModule / 2048); }));
  guest.monitor().Run("device_del", {{"id", "most"}});
  CHECK(Comes([&] { return house.Report().memory_bytes == mapped + kModule; }));
  CHECK(guest.Run("touch /tmp/enough; until [ -e /tmp/over ]; do sleep 0.2; done", kPatience).ok());
  CHECK(guest.MustRun("sort -u /tmp/verdicts") == Ok());
  house.CheckTraffic();
  CHECK(house.Report().connections == 1);
}

TEST_CASE("a guest whose memory lies in two places is served from both", "[vhost][guest][long]") {
  House house({.machine = "-machine max-ram-below-4g=128M"});
  CHECK(NumberIn(house.guest().MustRun("grep -c 'System RAM' /proc/iomem")) > 1);
  CHECK(house.Report().memory_regions > 1);
  house.CheckTraffic();
}

TEST_CASE("a machine that shares no memory is told apart, with what to set, and the next one is served",
          "[vhost][guest][long]") {
  constexpr const char* kUnshared =
      "-object memory-backend-ram,id=own,size=256M,share=off -machine memory-backend=own";
  House house(House::Empty(), {});
  {
    Guest guest({.devices = DevicesOf({.machine = kUnshared}, house.path(), 2)});
    guest.MustRun("ip link set eth0 up");
    CHECK(Comes([&] { return absl::StrContains(house.Report().last_error, "share=on"); }));
    INFO(house.Report().last_error << guest.QemuOutput());
    CHECK(absl::StrContains(house.Report().last_error, "mode='shared'"));
  }
  house.BootGuest();
  house.CheckTraffic();
}

TEST_CASE("machines that ask for more than there is, or leave amid their first words, harm nobody",
          "[vhost][guest]") {
  House house(House::Empty(), {}, {.pairs = 2});
  {
    Guest greedy({.devices = DevicesOf({.pairs = 4}, house.path(), 2), .arrives = true});
    CHECK(Comes([&] { return absl::StrContains(greedy.QemuOutput(), "queues"); }));
    INFO(greedy.QemuOutput());
  }
  for (int i = 0; i < 5; ++i) {
    const uint64_t connections = house.Report().connections;
    Guest brief({.devices = DevicesOf({}, house.path(), 2), .arrives = true});
    CHECK(Comes([&] { return house.Report().connections > connections; }));
    brief.Kill();
  }
  house.BootGuest();
  house.guest().MustRun(
      "d=$(basename $(readlink /sys/class/net/eth0/device)); b=/sys/bus/virtio/drivers/virtio_net; "
      "echo $d >$b/unbind; (sleep 0.3; echo $d >$b/bind) >/dev/null 2>&1 &");
  CHECK(Comes([&] { return !AnyRuns(house.Report()); }));
  CHECK(Comes([&] { return AnyRuns(house.Report()); }));
  house.guest().Kill();
  house.BootGuest();
  house.CheckTraffic();
}

absl::Duration ProcessorTime() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return absl::DurationFromTimeval(used.ru_utime) + absl::DurationFromTimeval(used.ru_stime);
}

TEST_CASE("a port whose guest is idle sleeps, and wakes for each packet", "[vhost][guest][long]") {
  constexpr absl::Duration kIdle = absl::Seconds(3);
  House house({});
  house.CheckPings();
  const uint64_t sleeps = house.patch().sleeps();
  const absl::Duration used = ProcessorTime();
  absl::SleepFor(kIdle);
  const uint64_t woken = house.patch().sleeps() - sleeps;
  TellFigure(absl::StrCat("idle for ", absl::FormatDuration(kIdle), ": woken ", woken, " times, ",
                          absl::FormatDuration(ProcessorTime() - used), " of a processor"));
  CHECK(woken <
        200);  // what a kernel says by itself; it would wake as often for any packet that it did not hear of
  // Further apart than what is looked after without being woken, and each the only one under way.
  const CommandResult pings = house.outside().Run("ping -q -c 150 -i 0.03 -W 10 10.0.0.2");
  TellFigure(pings.output);
  CHECK(absl::StrContains(pings.output, " 0% packet loss"));
}

}  // namespace
}  // namespace sluice::testing
