// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/topology.h"

#include <sched.h>

#include <catch2/catch.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sluice/base/cpu_list.h"
#include "sluice/base/status.h"
#include "tests/support/fake_sysfs.h"

namespace sluice {
namespace {

using testing::FakeSysfs;

struct NodeFiles {
  int node;
  std::string cpus;
  std::string distances;
};

// A machine as its files say, and how ReadTopology should see it: cores and nodes as "cpus cpus ...".
struct Machine {
  std::string name;
  std::string online;
  std::vector<std::string> cores;
  std::string nodes;
  std::vector<NodeFiles> node_files;
  std::string seen_cores;
  std::string seen_nodes;
};

const Machine kMachines[] = {
    {"one node, no SMT", "0-3", {"0", "1", "2", "3"}, "0", {{0, "0-3", "10"}}, "0 1 2 3", "0:0-3:10"},
    {"two nodes with SMT",
     "0-7",
     {"0,4", "1,5", "2,6", "3,7"},
     "0-1",
     {{0, "0-1,4-5", "10 21"}, {1, "2-3,6-7", "21 10"}},
     "0,4 1,5 2,6 3,7",
     "0:0-1,4-5:10,21 1:2-3,6-7:21,10"},
    {"four nodes",
     "0-3",
     {"0", "1", "2", "3"},
     "0-3",
     {{0, "0", "10 16 32 32"}, {1, "1", "16 10 32 32"}, {2, "2", "32 32 10 16"}, {3, "3", "32 32 16 10"}},
     "0 1 2 3",
     "0:0:10,16,32,32 1:1:16,10,32,32 2:2:32,32,10,16 3:3:32,32,16,10"},
    {"holes in processor and node numbers",
     "0,2,8-9",
     {"0,2", "8-9"},
     "0,3",
     {{0, "0,2", "10 20"}, {3, "8-9", "20 10"}},
     "0,2 8-9",
     "0:0,2:10,20 3:8-9:20,10"},
    {"offline processors still listed by their core and node",
     "0-1,3",
     {"0,2", "1,3"},
     "0",
     {{0, "0-3", "10"}},
     "0 1,3",
     "0:0-1,3:10"},
    {"a node that is memory only",
     "0-1",
     {"0-1"},
     "0-1",
     {{0, "0-1", "10 17"}, {1, "", "17 28"}},
     "0-1",
     "0:0-1:10,17 1::17,28"},
    {"a kernel without NUMA", "0-1", {"0-1"}, "", {}, "0-1", ""},
    {"a kernel that does not tell siblings", "0-1", {}, "0", {{0, "0-1", "10"}}, "0 1", "0:0-1:10"},
};

void Build(const Machine& machine, FakeSysfs& sys) {
  sys.Online(machine.online);
  for (const std::string& core : machine.cores) sys.Core(core);
  if (!machine.nodes.empty()) sys.Nodes(machine.nodes);
  for (const NodeFiles& node : machine.node_files) sys.Node(node.node, node.cpus, node.distances);
}

std::string CoresOf(const Topology& topology) {
  return absl::StrJoin(topology.cores, " ", [](std::string* out, const std::vector<CpuId>& core) {
    absl::StrAppend(out, FormatCpuList(core));
  });
}

std::string NodesOf(const Topology& topology) {
  return absl::StrJoin(topology.nodes, " ", [](std::string* out, const NumaNode& node) {
    absl::StrAppend(out, node.id.value(), ":", FormatCpuList(node.cpus), ":",
                    absl::StrJoin(node.distances, ","));
  });
}

void TwoNodes(FakeSysfs& sys) { Build(kMachines[1], sys); }

Topology FourNodes() {
  FakeSysfs sys;
  Build(kMachines[2], sys);
  return ReadTopology(sys.root()).value();
}

TEST_CASE("machines of many shapes are read as their files say") {
  for (const Machine& machine : kMachines) {
    INFO(machine.name);
    FakeSysfs sys;
    Build(machine, sys);
    const absl::StatusOr<Topology> topology = ReadTopology(sys.root());
    INFO(topology.status());
    REQUIRE(topology.ok());
    CHECK(FormatCpuList(topology->cpus) == machine.online);
    CHECK(CoresOf(*topology) == machine.seen_cores);
    CHECK(NodesOf(*topology) == machine.seen_nodes);
  }
}

TEST_CASE("a processor knows its node and its siblings, and an offline one neither") {
  FakeSysfs sys;
  TwoNodes(sys);
  const Topology topology = ReadTopology(sys.root()).value();
  CHECK(topology.NodeOf(CpuId(6)) == NodeId(1));
  CHECK(FormatCpuList(topology.SiblingsOf(CpuId(6))) == "2,6");
  CHECK(topology.NodeOf(CpuId(9)) == kUnknownNode);
  CHECK(topology.SiblingsOf(CpuId(9)).empty());
}

TEST_CASE("nodes are ordered by distance, nearest first, ties by number") {
  const Topology topology = FourNodes();
  CHECK(topology.NodesFrom(NodeId(2)) == std::vector<NodeId>{NodeId(2), NodeId(3), NodeId(0), NodeId(1)});
  CHECK(topology.NodesFrom(kUnknownNode).empty());
  CHECK(topology.NodesFrom(NodeId(4)).empty());
}

TEST_CASE("the distance to what is not known is no distance") {
  const Topology topology = FourNodes();
  CHECK(topology.Distance(NodeId(0), NodeId(1)) == 16);
  CHECK(topology.Distance(NodeId(0), kUnknownNode) == kNoDistance);
  CHECK(topology.Distance(kUnknownNode, kUnknownNode) == kNoDistance);
  CHECK(topology.Distance(NodeId(9), NodeId(0)) == kNoDistance);
  const Topology by_hand = {.nodes = {{.id = NodeId(0)}, {.id = NodeId(1)}}};  // no distances filled in
  CHECK(by_hand.Distance(NodeId(0), NodeId(1)) == kNoDistance);
}

TEST_CASE("where firmware gives no distances, all that is not local is equally remote") {
  FakeSysfs sys;
  TwoNodes(sys);
  sys.Remove("devices/system/node/node1/distance");
  const Topology topology = ReadTopology(sys.root()).value();
  CHECK(topology.Distance(NodeId(1), NodeId(1)) == kLocalDistance);
  CHECK(topology.Distance(NodeId(1), NodeId(0)) == kRemoteDistance);
}

TEST_CASE("a folder that is no sysfs is not found, with the file that is missing") {
  FakeSysfs empty;
  const absl::Status status = ReadTopology(empty.root()).status();
  CHECK(status.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(std::string(status.message()), Catch::Contains("/devices/system/cpu/online"));
  CHECK(ProblemOf(status).has_value());
}

TEST_CASE("files that say what cannot be are refused by name") {
  struct Row {
    const char* file;
    std::string text;
    const char* what;
  };
  const Row rows[] = {
      {"cpu/online", "zero", "character 1"},
      {"cpu/online", std::string("0\0 1", 4), "not a short text"},
      {"cpu/online", std::string(2 << 20, '0'), "not a short text"},
      {"cpu/cpu0/topology/thread_siblings_list", "4", "not among its own siblings"},
      {"cpu/cpu0/topology/thread_siblings_list", "0-1,4", "also listed elsewhere"},
      {"cpu/cpu0/topology/thread_siblings_list", "0..4", "character 2"},
      {"node/online", "0-", "character 3"},
      {"node/online", "0,40000", "no such node can be"},
      {"node/node1/cpulist", "1-3,6-7", "also listed elsewhere"},
      {"node/node1/cpulist", "x", "character 1"},
      {"node/node1/distance", "21", "1 distances for 2 nodes"},
      {"node/node1/distance", "21 10 21", "3 distances for 2 nodes"},
      {"node/node1/distance", "21 -1", "\"-1\" is no distance"},
      {"node/node1/distance", "", "0 distances for 2 nodes"},
  };
  for (const Row& row : rows) {
    FakeSysfs sys;
    TwoNodes(sys);
    sys.Write(absl::StrCat("devices/system/", row.file), row.text);
    const absl::Status status = ReadTopology(sys.root()).status();
    INFO(row.file << " " << row.what << " " << status);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(status.message()), Catch::Contains(row.what));
  }
}

TEST_CASE("an online node without its folder, or a folder in place of a file, is refused") {
  FakeSysfs sys;
  TwoNodes(sys);
  sys.Remove("devices/system/node/node1");
  CHECK(ReadTopology(sys.root()).status().code() == absl::StatusCode::kNotFound);

  TwoNodes(sys);
  sys.Remove("devices/system/cpu/online");
  sys.Write("devices/system/cpu/online/file", "");
  CHECK_FALSE(ReadTopology(sys.root()).ok());
}

// eth0 is a PCI device on node 1; virt0 hangs on one, as virtio does; lo is virtual.
void Devices(FakeSysfs& sys) {
  const std::string pci = "devices/pci0000:00/0000:00:03.0";
  sys.Write(pci + "/numa_node", "1");
  sys.Link("class/net/eth0/device", pci);
  sys.Link("class/net/virt0/device", pci + "/virtio0");
  sys.Link("bus/pci/devices/0000:00:03.0", pci);
  sys.Write("class/net/lo/mtu", "65536");
}

TEST_CASE("a device is next to the node that it, or the nearest device it hangs on, names") {
  FakeSysfs sys;
  Devices(sys);
  CHECK(NodeOfInterface("eth0", sys.root()).value() == NodeId(1));
  CHECK(NodeOfInterface("virt0", sys.root()).value() == NodeId(1));
  CHECK(NodeOfPciDevice("0000:00:03.0", sys.root()).value() == NodeId(1));
  CHECK(NodeOfInterface("lo", sys.root()).value() == kUnknownNode);
}

TEST_CASE("a node of -1 is unknown, and anything that is no node is refused") {
  FakeSysfs sys;
  Devices(sys);
  const std::string file = "devices/pci0000:00/0000:00:03.0/numa_node";
  sys.Write(file, "-1");
  CHECK(NodeOfInterface("eth0", sys.root()).value() == kUnknownNode);
  for (const char* text : {"-2", "32768", "one", "", "1 2"}) {
    sys.Write(file, text);
    CHECK(NodeOfInterface("eth0", sys.root()).status().code() == absl::StatusCode::kDataLoss);
  }
  sys.Remove(file);
  CHECK(NodeOfInterface("eth0", sys.root()).value() == kUnknownNode);
}

TEST_CASE("a device that is not there is not found, nor one whose name is a path") {
  FakeSysfs sys;
  Devices(sys);
  for (const char* name : {"eth1", "", ".", "..", "../net/eth0", "eth0/device"}) {
    INFO(name);
    CHECK(NodeOfInterface(name, sys.root()).status().code() == absl::StatusCode::kNotFound);
    CHECK(NodeOfPciDevice(name, sys.root()).status().code() == absl::StatusCode::kNotFound);
  }
}

TEST_CASE("this machine's own sysfs can be read, and its parts agree") {
  const absl::StatusOr<Topology> topology = ReadTopology();
  INFO(topology.status());
  REQUIRE(topology.ok());
  size_t on_cores = 0;
  for (const std::vector<CpuId>& core : topology->cores) on_cores += core.size();
  CHECK(on_cores == topology->cpus.size());
  for (const NumaNode& node : topology->nodes) CHECK(node.distances.size() == topology->nodes.size());
  CHECK(NodeOfInterface("lo").value() == kUnknownNode);
}

TEST_CASE("the allowed processors are those that this thread may run on") {
  const std::vector<CpuId> allowed = AllowedCpus().value();
  REQUIRE_FALSE(allowed.empty());
  std::vector<CpuId> narrowed;
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(allowed.back().value(), &one);
    if (sched_setaffinity(0, sizeof(one), &one) == 0) narrowed = AllowedCpus().value();
  }).join();
  CHECK(narrowed == std::vector<CpuId>{allowed.back()});
  CHECK(AllowedCpus().value() == allowed);
}

}  // namespace
}  // namespace sluice
