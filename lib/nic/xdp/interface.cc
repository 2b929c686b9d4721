// SPDX-License-Identifier: Apache-2.0
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "nic/xdp/interface_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

absl::Status Failed(int error, const char* stage, const std::string& what) {
  return ErrorStatus(
      {.device = {},
       .stage = stage,
       .capability = {},
       .error_number = error,
       .what = what,
       .remedy = "check the interface with `ip link` and `ethtool` in the same network namespace"});
}

uint64_t NamespaceOfThread() {
  struct stat file {};
  return stat("/proc/thread-self/ns/net", &file) == 0 ? file.st_ino : 0;
}

// ethtool_rxfh_indir ends in an array of entries: this is one in words.
constexpr size_t kIndirHeaderWords = offsetof(ethtool_rxfh_indir, ring_index) / sizeof(uint32_t);
static_assert(kIndirHeaderWords == 2, "cmd, size");

}  // namespace

Interface::Interface(uint32_t index, RouteSocket route, UniqueFd control)
    : index_(index), route_(std::move(route)), control_(std::move(control)), namespace_(NamespaceOfThread()) {
  node_ = ReadNode();
}

absl::StatusOr<std::unique_ptr<Interface>> Interface::Find(const std::string& name) {
  absl::StatusOr<RouteSocket> route = RouteSocket::Open();
  if (!route.ok()) return route.status();
  const absl::StatusOr<LinkFacts> facts = route->LinkByName(name);
  if (!facts.ok()) return facts.status();
  UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control.valid()) return Failed(errno, "open", "control socket");
  return std::unique_ptr<Interface>(new Interface(facts->index, *std::move(route), std::move(control)));
}

absl::StatusOr<LinkFacts> Interface::Facts() {
  const std::lock_guard lock(mutex_);
  return route_.LinkByIndex(index_);
}

absl::StatusOr<bool> Interface::CarriesDefaultRoute() {
  const std::lock_guard lock(mutex_);
  return route_.CarriesDefaultRoute(index_);
}

bool Interface::IsInOurNamespace() const { return NamespaceOfThread() == namespace_; }

int Interface::Ethtool(void* command) {
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(index_);
  if (ioctl(control_.get(), SIOCGIFNAME, &request) != 0) return errno;
  request.ifr_data = static_cast<char*>(command);
  return ioctl(control_.get(), SIOCETHTOOL, &request) == 0 ? 0 : errno;
}

absl::StatusOr<DeviceQueues> Interface::Queues() {
  const absl::StatusOr<LinkFacts> facts = Facts();
  if (!facts.ok()) return facts.status();
  DeviceQueues queues{.rx = facts->rx_queues, .tx = facts->tx_queues, .indirection = {}};
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (Ethtool(&channels) == 0 && channels.combined_count + channels.rx_count > 0) {
    queues.rx = channels.combined_count + channels.rx_count;
    queues.tx = channels.combined_count + channels.tx_count;
  }
  queues.indirection = ReadIndirection();
  return queues;
}

std::vector<uint32_t> Interface::ReadIndirection() {
  std::vector<uint32_t> words(kIndirHeaderWords);
  words[0] = ETHTOOL_GRXFHINDIR;
  if (Ethtool(words.data()) != 0) return {};  // size 0 asks for the size
  const uint32_t entries = words[1];
  words.resize(kIndirHeaderWords + entries);
  if (entries == 0 || Ethtool(words.data()) != 0) return {};
  words.erase(words.begin(), words.begin() + kIndirHeaderWords);
  return words;
}

absl::Status Interface::WriteIndirection(const std::vector<uint32_t>& table) {
  std::vector<uint32_t> words{ETHTOOL_SRXFHINDIR, static_cast<uint32_t>(table.size())};
  words.insert(words.end(), table.begin(), table.end());
  if (const int error = Ethtool(words.data())) return Failed(error, "write indirection table", "");
  return absl::OkStatus();
}

// The PCI address names the device also where /sys shows the interfaces of another network namespace.
NodeId Interface::ReadNode() {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  if (Ethtool(&info) != 0 || info.bus_info[0] == '\0') return kUnknownNode;
  int16_t node = -1;
  std::ifstream(absl::StrCat("/sys/bus/pci/devices/", info.bus_info, "/numa_node")) >> node;
  return NodeId(node);
}

}  // namespace sluice
