// SPDX-License-Identifier: Apache-2.0
// The questions of topology.h about one device or one thread.
#include <sched.h>

#include <cerrno>
#include <filesystem>
#include <limits>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/text_file_internal.h"
#include "sluice/base/status.h"
#include "sluice/base/topology.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<NodeId> ReadNode(const std::string& path) {
  absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) return text.status();
  int node = 0;
  if (absl::SimpleAtoi(*text, &node) && node >= kUnknownNode.value() &&
      node <= std::numeric_limits<NodeId::rep>::max()) {
    return NodeId(static_cast<NodeId::rep>(node));
  }
  return ErrorStatus(absl::StatusCode::kDataLoss, {.device = path,
                                                   .stage = "read NUMA node",
                                                   .what = absl::StrCat("\"", *text, "\" is no node"),
                                                   .remedy = "check what is mounted there"});
}

// Only PCI devices carry a node of their own; what is built on one (virtio, say) is a folder inside its
// folder.
absl::StatusOr<NodeId> NodeOfNearest(const fs::path& device, const fs::path& top) {
  for (fs::path at = device; at != top && at.has_relative_path(); at = at.parent_path()) {
    absl::StatusOr<NodeId> node = ReadNode(at / "numa_node");
    if (!absl::IsNotFound(node.status())) return node;
  }
  return kUnknownNode;
}

absl::Status NoSuchDevice(std::string device, const std::string& folder) {
  return ErrorStatus({.device = std::move(device),
                      .stage = "find NUMA node",
                      .error_number = ENODEV,
                      .remedy = absl::StrCat("use a name listed in ", folder)});
}

bool IsFileName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

// `link` is where below the entry the device is linked from; an entry without it is virtual.
absl::StatusOr<NodeId> NodeOfEntry(const std::string& sysfs, const std::string& folder,
                                   absl::string_view name, const char* link) {
  std::error_code error;
  const fs::path entry = fs::path(sysfs) / folder / std::string(name);
  if (!IsFileName(name) || !fs::exists(entry, error))
    return NoSuchDevice(std::string(name), "/sys/" + folder);
  const fs::path device = fs::canonical(entry / link, error);
  if (error) return kUnknownNode;
  return NodeOfNearest(device, fs::canonical(sysfs, error));
}

}  // namespace

absl::StatusOr<NodeId> NodeOfInterface(absl::string_view interface, const std::string& sysfs) {
  return NodeOfEntry(sysfs, "class/net", interface, "device");
}

absl::StatusOr<NodeId> NodeOfPciDevice(absl::string_view address, const std::string& sysfs) {
  return NodeOfEntry(sysfs, "bus/pci/devices", address, "");
}

absl::StatusOr<std::vector<CpuId>> AllowedCpus() {
  // The kernel refuses a set smaller than its own with EINVAL and does not say how large that is.
  for (size_t size = 1024; size <= 65536; size *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(size),
                                                               [](cpu_set_t* s) { CPU_FREE(s); });
    if (sched_getaffinity(0, CPU_ALLOC_SIZE(size), set.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    std::vector<CpuId> cpus;
    for (size_t cpu = 0; cpu < size; ++cpu) {
      if (CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(size), set.get())) cpus.emplace_back(static_cast<CpuId::rep>(cpu));
    }
    return cpus;
  }
  return ErrorStatus({.device = "thread",
                      .stage = "read allowed processors",
                      .error_number = errno,
                      .remedy = "allow the sched_getaffinity call where a container forbids it"});
}

}  // namespace sluice
