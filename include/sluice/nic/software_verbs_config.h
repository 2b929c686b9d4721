// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTWARE_VERBS_CONFIG_H_
#define SLUICE_NIC_SOFTWARE_VERBS_CONFIG_H_

// Software verbs devices as text, for programs that are not to be changed: `sluice-softverbs FILE -- PROGRAM ...` runs
// them with the devices of the file. One setting a line, each below its device; '#' begins a comment.
//
//   device soft0
//     mac 02:00:00:00:00:30
//     wire shm /tmp/cable.sock server     # the other end: client
//   device soft1
//     mtu 9000
//     wire packet veth0                   # AF_PACKET on a kernel interface
//
//   mac ADDRESS           default: 02:00:00:00:00:01 for the first device, :02 for the second, and so on
//   mtu BYTES             1500
//   profile good | poor   what the hardware can do (SoftwareVerbsHardware); default: good
//   patience MS           how long arrivals wait for a receive queue; default: 2000
//   loopback yes | no     multicast that is sent reaches the own rules; default: yes
//   wire null             swallows what is sent; the default
//   wire loop             from the port to itself
//   wire pair NAME        two devices with the same name are joined, within one process
//   wire shm PATH server | client   between two processes
//   wire packet IFNAME, wire tap IFNAME
//
// Each process that opens a device makes one of its own, with its own end of the wire: two that are to talk open two
// devices of a file.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"
#include "sluice/nic/software_verbs.h"

namespace sluice {

struct SoftwareVerbsConfig {
  SoftwareVerbsOptions options{};
  std::vector<std::string> wire = {"null"};  // the words behind "wire"
};

// kInvalidArgument with the line and what could stand there. `name` is the text's, for messages.
SLUICE_EXPORT absl::StatusOr<std::vector<SoftwareVerbsConfig>> ParseSoftwareVerbs(absl::string_view name,
                                                                                  absl::string_view text);
// Of a file; also as the file system says.
SLUICE_EXPORT absl::StatusOr<std::vector<SoftwareVerbsConfig>> ReadSoftwareVerbs(const std::string& path);

// The wire of a device, not yet open. Both ends of a pair are made with the first.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Wire>> MakeSoftwareVerbsWire(const SoftwareVerbsConfig& config);

// For libsluice_soft-rdmav34.so, which is loaded into programs.
// ---------------------------------------------------------------------------------------------------------

// Names the file of the process's devices.
inline constexpr char kSoftwareVerbsVariable[] = "SLUICE_SOFTVERBS";

// Makes them known to libibverbs, which finds them where sysfs has their names. kUnimplemented without a libibverbs that
// fits. Once.
SLUICE_EXPORT absl::Status RegisterSoftwareVerbs();
// The same devices for ibv_open_device, without sysfs. They live as long as the process.
SLUICE_EXPORT std::vector<ibv_device*> ConfiguredSoftwareVerbs();

// GID 0 of a port: link-local, of its address (RFC 4291, 2.5.6), as 16 bytes in network order.
SLUICE_EXPORT std::array<uint8_t, 16> SoftwareVerbsGid(const MacAddress& mac);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTWARE_VERBS_CONFIG_H_
