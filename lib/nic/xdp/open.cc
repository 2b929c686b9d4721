// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "nic/xdp/xdp_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint32_t kMaxRing = 32768;
constexpr uint32_t kFrameOverMtu =
    14 + 4;  // Ethernet header and one VLAN tag, as the kernel's own check has it

absl::Status Invalid(const std::string& device, const char* option, const std::string& what,
                     const char* remedy) {
  return ErrorStatus(
      absl::StatusCode::kInvalidArgument,
      {.device = device, .stage = "open", .capability = option, .what = what, .remedy = remedy});
}

absl::Status CheckOptions(const std::string& device, const XdpNicOptions& options) {
  if (options.interface.empty()) {
    return Invalid(device, "interface", "no name given", "name an interface that `ip link` shows");
  }
  if (options.busy_poll == Want::kOff) return absl::OkStatus();
  if (options.busy_poll_budget == 0 || options.busy_poll_budget > 65535) {
    return Invalid(device, "busy_poll_budget", absl::StrCat(options.busy_poll_budget), "use 1 to 64");
  }
  if (options.busy_poll_time < absl::Microseconds(1) || options.busy_poll_time > absl::Seconds(1)) {
    return Invalid(device, "busy_poll_time", absl::FormatDuration(options.busy_poll_time), "use 1us to 1s");
  }
  return absl::OkStatus();
}

// The same status, of the device: the parts below do not know what the user calls it.
absl::Status Named(const std::string& device, const char* stage, const absl::Status& status) {
  std::optional<Problem> problem = ProblemOf(status);
  if (!problem.has_value()) return status;
  problem->device = device;
  if (problem->error_number == ENODEV) {
    problem->stage = stage;
    problem->what = "no such interface in this network namespace";
  }
  return ErrorStatus(*problem);
}

absl::Status CheckSocket(const std::string& device) {
  const UniqueFd probe(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (probe.valid()) return absl::OkStatus();
  const bool denied = errno == EPERM || errno == EACCES;
  return ErrorStatus({.device = device,
                      .stage = "open",
                      .capability = "AF_XDP",
                      .error_number = errno == EAFNOSUPPORT ? EOPNOTSUPP : errno,
                      .what = denied ? "no privilege for the socket" : "no AF_XDP socket to be had",
                      .remedy = denied ? "run with CAP_NET_RAW, CAP_BPF and CAP_NET_ADMIN, or as root"
                                       : "use a kernel with CONFIG_XDP_SOCKETS"});
}

absl::Status CheckDefaultRoute(const std::string& device, Interface& interface) {
  const absl::StatusOr<bool> carries = interface.CarriesDefaultRoute();
  if (!carries.ok()) return Named(device, "open", carries.status());
  if (!*carries) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kFailedPrecondition,
                     {.device = device,
                      .stage = "open",
                      .capability = "allow_default_route",
                      .what = "the default route leaves through this interface: taking its frames cuts off "
                              "whoever is logged in through it",
                      .remedy = "set allow_default_route, or use another interface"});
}

// Most of it is in the device; the rest is said here for it does not change either.
Capabilities CapabilitiesOf(const DeviceQueues& queues, const LinkFacts& facts) {
  Capabilities capabilities;
  capabilities.max_rx_queues = static_cast<uint16_t>(std::min<uint32_t>(queues.rx, UINT16_MAX));
  capabilities.max_tx_queues = static_cast<uint16_t>(std::min<uint32_t>(queues.tx, UINT16_MAX));
  capabilities.max_ring_size = kMaxRing;
  capabilities.max_frame = facts.mtu + kFrameOverMtu;
  capabilities.sleeps = true;
  return capabilities;
}

// Everything that would fail in Start for want of privilege is tried here, and let go of.
absl::Status CheckPrivilege(const std::string& device, uint32_t queues) {
  if (absl::Status socket = CheckSocket(device); !socket.ok()) return socket;
  return XdpProgram::Load(device, queues).status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<XdpNic>> OpenXdpNic(const XdpNicOptions& options) {
  const std::string device = absl::StrCat("xdp ", options.interface);
  if (absl::Status valid = CheckOptions(device, options); !valid.ok()) return valid;
  absl::StatusOr<std::unique_ptr<Interface>> interface = Interface::Find(options.interface);
  if (!interface.ok()) return Named(device, "open", interface.status());
  const absl::StatusOr<LinkFacts> facts = (*interface)->Facts();
  if (!facts.ok()) return Named(device, "open", facts.status());
  const absl::StatusOr<DeviceQueues> queues = (*interface)->Queues();
  if (!queues.ok()) return Named(device, "open", queues.status());

  if (!options.allow_default_route) {
    if (absl::Status route = CheckDefaultRoute(device, **interface); !route.ok()) return route;
  }
  if (absl::Status privilege = CheckPrivilege(device, queues->rx); !privilege.ok()) return privilege;
  if (absl::Status free = CheckNoProgram(device, facts->index); !free.ok()) return free;
  absl::StatusOr<LinkWatch> watch = LinkWatch::Open(facts->index);
  if (!watch.ok()) return Named(device, "open", watch.status());
  return std::make_unique<XdpNicImpl>(options, device, *std::move(interface), *std::move(watch), *facts,
                                      CapabilitiesOf(*queues, *facts));
}

}  // namespace sluice
