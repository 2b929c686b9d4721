// SPDX-License-Identifier: Apache-2.0
// Programs that nobody here wrote, on the software verbs device: rdma-core's tools and tests, and perftest.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <regex>
#include <string>

#include "tests/nic/soft_programs.h"
#include "tests/support/process.h"
#include "tests/support/skip.h"

namespace sluice {
namespace {

using testing::CommandResult;
using testing::Process;
using testing::RunCommand;
using testing::SkipTest;
using testing::SoftPrograms;

// Two devices, soft0 and soft1, on one cable between processes; patient with each other, on a slow machine.
SoftPrograms Devices(const std::string& program, const std::string& settings = "") {
  const auto device = [&settings](const std::string& number, const std::string& role) {
    return "device soft" + number + "\n  mac 02:00:00:00:00:3" + number + "\n  wire shm @/cable " + role +
           "\n  patience 10000\n  control @/soft" + number + "\n" + settings;
  };
  return SoftPrograms(program, device("0", "server") + device("1", "client"));
}

TEST_CASE("ibv_devices and ibv_devinfo find both devices, and nothing is left of their files") {
  const SoftPrograms devices = Devices("ibv_devinfo");
  const auto files = [&] {
    return RunCommand("find /dev/infiniband " + devices.folder() +
                      " -mindepth 1 -name '*sluice*' 2>/dev/null")
        .output;
  };
  const std::string before = files();
  const CommandResult list = devices.Run("ibv_devices");
  CHECK_THAT(list.output, Catch::Contains("soft0") && Catch::Contains("soft1"));
  const CommandResult info = devices.Run("ibv_devinfo -v -d soft1");
  INFO(info.output);
  REQUIRE(info.ok());
  CHECK_THAT(info.output, Catch::Contains("PORT_ACTIVE") && Catch::Contains("Ethernet"));
  CHECK_THAT(info.output, Catch::Contains("fe80::ff:fe00:31"));
  CHECK(files() == before);
}

TEST_CASE("who may not make device files gets the devices all the same") {
  const SoftPrograms devices = Devices("ibv_devinfo");
  if (geteuid() != 0) SkipTest("needs root, to be somebody else");
  RunCommand("chmod -R a+rwX " + devices.folder());
  const CommandResult info = RunCommand("setpriv --reuid 65534 --regid 65534 --clear-groups " +
                                        devices.Command("ibv_devinfo -d soft0"));
  INFO(info.output);
  CHECK(info.ok());
  CHECK_THAT(info.output, Catch::Contains("cannot make files") && Catch::Contains("PORT_ACTIVE"));
}

TEST_CASE("the launcher passes the program's status on, and says how it is used") {
  const SoftPrograms devices = Devices("true");
  CHECK(devices.Run("sh -c 'exit 7'").status == 7);
  CHECK(RunCommand(SLUICE_SOFTVERBS_LAUNCHER).status == 2);
  CHECK_THAT(RunCommand(std::string(SLUICE_SOFTVERBS_LAUNCHER) + " /nowhere -- true").output,
             Catch::Contains("ENOENT"));
}

TEST_CASE("ibv_asyncwatch sees the cable pulled out and plugged in, and the card go, by order") {
  const SoftPrograms devices = Devices("ibv_asyncwatch");
  Process watch = Process::Command(devices.Command("stdbuf -oL ibv_asyncwatch -d soft0"));
  const auto says = [&watch](const char* text) { return watch.WaitForOutput(text, absl::Seconds(10)); };
  REQUIRE(says("async event FD"));
  CHECK(devices.Tell("soft0", "cable pull").ok());
  CHECK(says("event_type IBV_EVENT_PORT_ERR"));
  CHECK(devices.Tell("soft0", "cable plug").ok());
  CHECK(says("event_type IBV_EVENT_PORT_ACTIVE"));
  CHECK(devices.Tell("soft0", "remove").ok());
  CHECK(says("event_type IBV_EVENT_DEVICE_FATAL"));
  INFO(watch.Output());
  const CommandResult wrong = devices.Tell("soft0", "cable cut");
  CHECK(wrong.status == 1);
  CHECK_THAT(wrong.output, Catch::Contains("give: cable pull | plug"));
  CHECK(devices.Tell("soft1", "show").status == 1);  // nobody has it open
}

// perftest's two sides, to completion. They meet on the wire alone: the server is the one that waits.
struct Ends {
  CommandResult client;
  CommandResult server;
};
Ends RunPerftest(const std::string& tool, const std::string& options, const std::string& settings = "") {
  const SoftPrograms devices = Devices(tool, settings);
  const std::string common = " " + options;
  Process server = Process::Command(
      devices.Command(tool + " --server -d soft0 -B 02:00:00:00:00:30 -E 02:00:00:00:00:31" + common));
  Ends ends;
  ends.client = devices.Run(tool + " --client -d soft1 -B 02:00:00:00:00:31 -E 02:00:00:00:00:30" + common,
                            nullptr, absl::Seconds(50));
  ends.server.status = server.Wait(absl::Seconds(50));
  ends.server.output = server.Output();
  return ends;
}

void CheckPerftest(const std::string& tool, const std::string& options, const std::string& settings = "") {
  const Ends ends = RunPerftest(tool, options, settings);
  INFO(options << "\nclient: " << ends.client.output << "\nserver: " << ends.server.output);
  CHECK(ends.client.ok());
  CHECK(ends.server.ok());
}

constexpr char kUdp[] = " -j 10.0.0.1 -J 10.0.0.2 -k 1000 -K 2000";
constexpr char kIpv6[] = " --raw_ipv6 -j fe80::1 -J fe80::2 -k 1000 -K 2000";

// What `pattern`, which has one group for a number, finds in the text; 0 when it finds nothing.
int Number(const std::string& text, const std::string& pattern) {
  std::smatch found;
  return std::regex_search(text, found, std::regex(pattern)) ? std::stoi(found[1]) : 0;
}

TEST_CASE("raw_ethernet_bw runs to its end in each of its modes") {
  for (const std::string& options : {
           std::string("-s 1000 -n 2000"),
           std::string("-s 64 -n 2000 -b"),
           std::string("-s 1000 -D 1"),
           std::string("-s 500 -n 2000") + kUdp,
           std::string("-s 500 -n 2000 --tcp --flows 8") + kUdp,
           std::string("-s 500 -n 2000") + kIpv6,
           std::string("-s 500 -n 2000 --tcp") + kIpv6,
           std::string("-s 500 -n 2000 --vlan_en"),
           std::string("-s 500 -n 2000 --promiscuous"),
           std::string("-s 500 -n 2000 --sniffer"),
       }) {
    CheckPerftest("raw_ethernet_bw", options);
  }
}

TEST_CASE("raw_ethernet_bw with four queue pairs gets each frame on each of them") {
  // Its server has all it waits for after a quarter of the frames, and goes; the rest finds nobody, and is soon dropped.
  CheckPerftest("raw_ethernet_bw", "-s 500 -n 2000 -q 4", "  patience 300\n");
}

TEST_CASE("raw_ethernet_bw receives multicast by the group that it joined") {
  const Ends ends = RunPerftest("raw_ethernet_bw", "-s 500 -n 2000 --raw_mcast");
  INFO("client: " << ends.client.output << "\nserver: " << ends.server.output);
  CHECK(ends.client.ok());
  // perftest 4.5 destroys a rule at its end that it has made for unicast only: the server may fall over that.
  CHECK(Number(ends.server.output, "\n *500 +([0-9]+)") == 2000);
}

TEST_CASE("raw_ethernet_bw sends no faster than the rate that it asks for") {
  constexpr double kRate = 5;  // MiB/s
  const Ends ends =
      RunPerftest("raw_ethernet_bw", "-s 500 -n 3000 --rate_limit=5 --rate_units=M --rate_limit_type=PP");
  INFO("client: " << ends.client.output << "\nserver: " << ends.server.output);
  REQUIRE((ends.client.ok() && ends.server.ok()));
  std::smatch found;
  const std::regex average("\n *500 +3000 +[0-9.]+ +([0-9.]+)");
  REQUIRE(std::regex_search(ends.client.output, found, average));
  CHECK(std::stod(found[1]) < 1.05 * kRate);
}

TEST_CASE("raw_ethernet_bw carries jumbo frames where the device's MTU allows them") {
  CheckPerftest("raw_ethernet_bw", "-s 8000 -m 9000 -n 2000", "  mtu 9000\n");
}

TEST_CASE("raw_ethernet_lat measures there and back") { CheckPerftest("raw_ethernet_lat", "-s 64 -n 1000"); }

TEST_CASE("raw_ethernet_fs_rate makes and removes a thousand rules") {
  const SoftPrograms devices = Devices("raw_ethernet_fs_rate");
  const CommandResult rate =
      devices.Run("raw_ethernet_fs_rate --client -d soft0 -B 02:00:00:00:00:30 -E 02:00:00:00:00:31 -n 1000");
  INFO(rate.output);
  CHECK(rate.ok());
}

TEST_CASE("the tests that rdma-core ships pass on the device, or skip") {
  constexpr char kTests[] = "/usr/share/doc/rdma-core/tests";
  constexpr int kNotOurs = 2;  // of huge pages: they make RC queue pairs, and take no refusal
  const SoftPrograms devices = Devices("/usr/bin/python3", "  wire null\n");  // they send to themselves
  if (access(kTests, R_OK) != 0) SkipTest("python3-pyverbs is not installed: see cmake/packages.txt");
  const std::string copy = devices.folder();
  REQUIRE(
      RunCommand(std::string("cp -r ") + kTests + " " + copy + " && gunzip " + copy + "/tests/*.gz").ok());
  const CommandResult tests = devices.Run("sh -c 'cd " + copy + " && PYTHONPATH=" + copy + ":" + copy +
                                              "/tests /usr/bin/python3 tests/run_tests.py 2>&1'",
                                          nullptr, absl::Seconds(240));
  INFO(tests.output.substr(tests.output.size() < 4000 ? 0 : tests.output.size() - 4000));
  const int run = Number(tests.output, "Ran ([0-9]+) tests");
  const int wrong = Number(tests.output, "errors=([0-9]+)") + Number(tests.output, "failures=([0-9]+)");
  const int passed = run - wrong - Number(tests.output, "skipped=([0-9]+)");
  CHECK(run >= 200);
  CHECK(wrong <= kNotOurs);
  CHECK(passed >= 47);
}

}  // namespace
}  // namespace sluice
