// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/topology.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/text_file_internal.h"
#include "sluice/base/cpu_list.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

absl::Status Corrupt(const std::string& path, std::string what) {
  return ErrorStatus(absl::StatusCode::kDataLoss,
                     {.device = path,
                      .stage = "read topology",
                      .what = std::move(what),
                      .remedy = "check what is mounted there, or fill in a Topology by hand"});
}

// A list of processors, or of nodes, which sysfs writes in the same form.
absl::StatusOr<std::vector<CpuId>> ReadList(const std::string& path) {
  absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<std::vector<CpuId>> list = ParseCpuList(*text);
  if (!list.ok()) return Corrupt(path, ProblemOf(list.status())->what);
  return list;
}

std::vector<CpuId> Only(const std::vector<CpuId>& cpus, const std::vector<CpuId>& online) {
  std::vector<CpuId> both;
  std::set_intersection(cpus.begin(), cpus.end(), online.begin(), online.end(), std::back_inserter(both));
  return both;
}

// Enters `cpus` as belonging together; a processor is on one core and on one node only.
absl::Status Claim(const std::vector<CpuId>& cpus, const std::string& path, std::set<CpuId>& claimed) {
  for (const CpuId cpu : cpus) {
    if (claimed.insert(cpu).second) continue;
    return Corrupt(path, absl::StrCat("processor ", cpu.value(), " is also listed elsewhere"));
  }
  return absl::OkStatus();
}

// Reads the parts of a Topology below one mount of sysfs, each building on those before it.
class Reader {
 public:
  explicit Reader(const std::string& sysfs)
      : cpu_(absl::StrCat(sysfs, "/devices/system/cpu")),
        node_(absl::StrCat(sysfs, "/devices/system/node")) {}

  absl::StatusOr<Topology> Read() {
    absl::StatusOr<std::vector<CpuId>> online = ReadList(cpu_ + "/online");
    if (!online.ok()) return online.status();
    topology_.cpus = *std::move(online);
    if (absl::Status status = ReadCores(); !status.ok()) return status;
    if (absl::Status status = ReadNodes(); !status.ok()) return status;
    return std::move(topology_);
  }

 private:
  absl::Status ReadCores() {
    std::set<CpuId> claimed;
    for (const CpuId cpu : topology_.cpus) {
      if (claimed.count(cpu) != 0) continue;
      const std::string path = absl::StrCat(cpu_, "/cpu", cpu.value(), "/topology/thread_siblings_list");
      absl::StatusOr<std::vector<CpuId>> core = ReadList(path);
      if (absl::IsNotFound(core.status())) core = std::vector<CpuId>{cpu};  // no SMT known: a core of its own
      if (!core.ok()) return core.status();
      core = Only(*core, topology_.cpus);
      if (std::find(core->begin(), core->end(), cpu) == core->end()) {
        return Corrupt(path, absl::StrCat("processor ", cpu.value(), " is not among its own siblings"));
      }
      if (absl::Status status = Claim(*core, path, claimed); !status.ok()) return status;
      topology_.cores.push_back(*std::move(core));
    }
    return absl::OkStatus();
  }

  absl::Status ReadNodes() {
    absl::StatusOr<std::vector<CpuId>> online = ReadList(node_ + "/online");
    if (absl::IsNotFound(online.status())) return absl::OkStatus();  // a kernel without NUMA
    if (!online.ok()) return online.status();
    std::set<CpuId> claimed;
    for (const CpuId number : *online) {
      const absl::Status status = ReadNode(number.value(), online->size(), claimed);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status ReadNode(uint16_t number, size_t count, std::set<CpuId>& claimed) {
    const std::string folder = absl::StrCat(node_, "/node", number);
    if (number > std::numeric_limits<NodeId::rep>::max()) return Corrupt(folder, "no such node can be");
    NumaNode node{.id = NodeId(static_cast<NodeId::rep>(number))};

    const std::string list = folder + "/cpulist";
    absl::StatusOr<std::vector<CpuId>> cpus = ReadList(list);
    if (!cpus.ok()) return cpus.status();
    node.cpus = Only(*cpus, topology_.cpus);
    if (absl::Status status = Claim(node.cpus, list, claimed); !status.ok()) return status;
    if (absl::Status status = ReadDistances(folder + "/distance", count, node); !status.ok()) return status;
    topology_.nodes.push_back(std::move(node));
    return absl::OkStatus();
  }

  // One number for each online node, in their order.
  absl::Status ReadDistances(const std::string& path, size_t count, NumaNode& node) {
    absl::StatusOr<std::string> text = ReadTextFile(path);
    if (absl::IsNotFound(text.status())) {
      node.distances.assign(count, kRemoteDistance);
      node.distances[topology_.nodes.size()] = kLocalDistance;
      return absl::OkStatus();
    }
    if (!text.ok()) return text.status();
    for (const absl::string_view number : absl::StrSplit(*text, ' ', absl::SkipEmpty())) {
      uint32_t distance = 0;
      if (!absl::SimpleAtoi(number, &distance))
        return Corrupt(path, absl::StrCat("\"", number, "\" is no distance"));
      node.distances.push_back(distance);
    }
    if (node.distances.size() == count) return absl::OkStatus();
    return Corrupt(path, absl::StrCat(node.distances.size(), " distances for ", count, " nodes"));
  }

  const std::string cpu_;
  const std::string node_;
  Topology topology_;
};

bool Contains(const std::vector<CpuId>& cpus, CpuId cpu) {
  return std::find(cpus.begin(), cpus.end(), cpu) != cpus.end();
}

}  // namespace

NodeId Topology::NodeOf(CpuId cpu) const {
  for (const NumaNode& node : nodes) {
    if (Contains(node.cpus, cpu)) return node.id;
  }
  return kUnknownNode;
}

std::vector<CpuId> Topology::SiblingsOf(CpuId cpu) const {
  for (const std::vector<CpuId>& core : cores) {
    if (Contains(core, cpu)) return core;
  }
  return {};
}

const NumaNode* Topology::Find(NodeId node) const {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [&](const NumaNode& n) { return n.id == node; });
  return found == nodes.end() ? nullptr : &*found;
}

uint32_t Topology::Distance(NodeId from, NodeId to) const {
  const NumaNode* near = Find(from);
  const NumaNode* far = Find(to);
  if (near == nullptr || far == nullptr) return kNoDistance;
  const size_t index = static_cast<size_t>(far - nodes.data());
  return index < near->distances.size() ? near->distances[index] : kNoDistance;
}

std::vector<NodeId> Topology::NodesFrom(NodeId node) const {
  std::vector<NodeId> order;
  if (Find(node) == nullptr) return order;
  for (const NumaNode& other : nodes) order.push_back(other.id);
  std::stable_sort(order.begin(), order.end(),
                   [&](NodeId a, NodeId b) { return Distance(node, a) < Distance(node, b); });
  return order;
}

absl::StatusOr<Topology> ReadTopology(const std::string& sysfs) { return Reader(sysfs).Read(); }

}  // namespace sluice
