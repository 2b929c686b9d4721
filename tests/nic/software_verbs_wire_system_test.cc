// SPDX-License-Identifier: Apache-2.0
// The wires of a software verbs configuration, each with perftest at one end or at both, and where the kernel is at the other
// end with the kernel as judge.
#include <catch2/catch.hpp>
#include <string>

#include "sluice/packet/capture_file.h"
#include "tests/nic/soft_programs.h"
#include "tests/support/netns.h"
#include "tests/support/process.h"

namespace sluice {
namespace {

using testing::CommandResult;
using testing::Namespace;
using testing::Process;
using testing::RunCommand;
using testing::SoftPrograms;
using testing::VethPair;

constexpr char kServer[] = "raw_ethernet_bw --server -d soft0 -B 02:00:00:00:00:30 -E 02:00:00:00:00:31 ";
constexpr char kClient[] = "raw_ethernet_bw --client -d soft1 -B 02:00:00:00:00:31 -E 02:00:00:00:00:30 ";

// Whether the program behind a control socket has a queue that receives.
bool Receives(const SoftPrograms& programs, const std::string& socket) {
  for (int i = 0; i < 200; ++i) {
    if (programs.Tell(socket, "show").output.find(" receiving") != std::string::npos) return true;
    RunCommand("sleep 0.05");
  }
  return false;
}

// What nstat(8) counts of `name` in a namespace.
int Counter(const Namespace& where, const std::string& name) {
  return std::stoi(where.MustRun("nstat -asz " + name + " | awk '/" + name + "/ {printf \"%s\", $2}'"));
}

int RecordsOf(const std::string& path) {
  auto reader = CaptureReader::Open(path);
  REQUIRE(reader.ok());
  CaptureRecord record;
  int records = 0;
  while (*(*reader)->Read(record)) ++records;
  return records;
}

TEST_CASE("raw_ethernet_bw runs through a veth pair, between packet sockets in two namespaces") {
  const SoftPrograms programs("raw_ethernet_bw",
                              "device soft0\n  mac 02:00:00:00:00:30\n  wire packet eth0\n  control @/soft0\n"
                              "device soft1\n  mac 02:00:00:00:00:31\n  wire packet eth0\n");
  const Namespace left = Namespace::Make("left"), right = Namespace::Make("right");
  const VethPair veth(left, "eth0", right, "eth0");
  const std::string size = "-s 1000 -n 500";  // fewer than the kernel's ring holds: nothing is lost
  Process server = Process::Command(programs.Command(kServer + size), &left);
  REQUIRE(Receives(programs, "soft0"));
  const CommandResult client = programs.Run(kClient + size, &right);
  const int served = server.Wait(absl::Seconds(50));
  INFO("client: " << client.output << "\nserver: " << server.Output());
  CHECK(client.ok());
  CHECK(served == 0);
}

TEST_CASE(
    "the kernel behind a TAP takes every frame that raw_ethernet_bw sends, and finds no fault with one") {
  constexpr int kFrames = 300;
  const SoftPrograms programs("raw_ethernet_bw", "device soft1\n  mac 02:00:00:00:00:31\n  wire tap tap0\n");
  const Namespace kernel = Namespace::Make("tap");
  kernel.MustRun("ip tuntap add tap0 mode tap && ip link set tap0 address 02:00:00:00:00:30");
  kernel.MustRun("ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 up");
  const CommandResult client = programs.Run(
      kClient + std::string("-s 200 -j 10.0.0.2 -J 10.0.0.1 -k 1000 -K 2000 -n ") + std::to_string(kFrames),
      &kernel);
  INFO(client.output);
  CHECK(client.ok());
  CHECK(Counter(kernel, "UdpNoPorts") == kFrames);
  CHECK(Counter(kernel, "IpInHdrErrors") + Counter(kernel, "UdpInErrors") == 0);
}

TEST_CASE("what raw_ethernet_bw sends is in a capture, and from there arrives at another, frame by frame") {
  const SoftPrograms sender("raw_ethernet_bw",
                            "device soft1\n  mac 02:00:00:00:00:31\n  wire pcap - @/sent.pcap\n");
  const std::string size = "-s 300 -n 400";
  const CommandResult client = sender.Run(kClient + size);
  INFO(client.output);
  REQUIRE(client.ok());
  CHECK(RecordsOf(sender.file("sent.pcap")) == 400);

  const SoftPrograms receiver("raw_ethernet_bw", "device soft0\n  mac 02:00:00:00:00:30\n  wire pcap " +
                                                     sender.file("sent.pcap") + " -\n");
  const CommandResult server = receiver.Run(kServer + size);
  INFO(server.output);
  CHECK(server.ok());
}

}  // namespace
}  // namespace sluice
