// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_TOPOLOGY_H_
#define SLUICE_BASE_TOPOLOGY_H_

// Which processors there are, which of them share a core and a memory, how far the memories are from each
// other, and which of them a device is next to: what placement decides by.
//
//   node 0 ── cpus 0-3,8-11 ── cores {0,8} {1,9} {2,10} {3,11}       distance 0 → 1: 21
//   node 1 ── cpus 4-7,12-15 ─ cores {4,12} ...                      eth0 is next to node 1
//
// Topology is a plain value: read it once, fill it in by hand, pass it by reference. It does not follow
// hot-plug; read again when processors come and go.
//
// What the kernel leaves open stays open: a device whose node is not known has kUnknownNode, a kernel without
// NUMA has no nodes. What contradicts itself is refused with the name of the file.
//
// Threads: values; the functions may run in any thread.
// Cost: ReadTopology opens about two files per processor.
// Formats: Documentation/admin-guide/cputopology.rst and Documentation/ABI/stable/sysfs-devices-node of Linux.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

// Distances between memories as firmware gives them (ACPI 6.4, 5.2.17): relative, 10 is local.
inline constexpr uint32_t kLocalDistance = 10;
inline constexpr uint32_t kRemoteDistance = 20;  // where firmware gives none
inline constexpr uint32_t kNoDistance = 255;     // unreachable, or one of the two is unknown

struct NumaNode {
  NodeId id;
  std::vector<CpuId> cpus = {};          // online, ascending; empty for a node that is memory only
  std::vector<uint32_t> distances = {};  // to each of Topology::nodes, in their order
};

struct SLUICE_EXPORT Topology {
  std::vector<CpuId> cpus = {};  // online, ascending
  std::vector<std::vector<CpuId>> cores =
      {};                            // each of `cpus` once, with those that run on the same core (SMT)
  std::vector<NumaNode> nodes = {};  // online, ascending by id; ids may have holes

  NodeId NodeOf(CpuId cpu) const;                   // kUnknownNode when offline or on no node
  std::vector<CpuId> SiblingsOf(CpuId cpu) const;   // itself included; empty when offline
  const NumaNode* Find(NodeId node) const;          // null when not online; lives as long as the Topology
  uint32_t Distance(NodeId from, NodeId to) const;  // kNoDistance when either is unknown
  std::vector<NodeId> NodesFrom(
      NodeId node) const;  // all, nearest first, ties by id; empty when it is unknown
};

// The machine as sysfs, mounted at `sysfs`, shows it. kNotFound when it is not there, kDataLoss when a file
// says what cannot be.
SLUICE_EXPORT absl::StatusOr<Topology> ReadTopology(const std::string& sysfs = "/sys");

// The node next to a network interface or a PCI device ("0000:3b:00.0"): its own, else that of the nearest
// device it hangs on. kUnknownNode for virtual interfaces and where firmware does not say. kNotFound when
// there is no such interface in the network namespace that `sysfs` was mounted in, or no such device.
SLUICE_EXPORT absl::StatusOr<NodeId> NodeOfInterface(absl::string_view interface,
                                                     const std::string& sysfs = "/sys");
SLUICE_EXPORT absl::StatusOr<NodeId> NodeOfPciDevice(absl::string_view address,
                                                     const std::string& sysfs = "/sys");

// The processors that the calling thread may run on, cpusets included; ask before you pin it.
SLUICE_EXPORT absl::StatusOr<std::vector<CpuId>> AllowedCpus();

}  // namespace sluice

#endif  // SLUICE_BASE_TOPOLOGY_H_
