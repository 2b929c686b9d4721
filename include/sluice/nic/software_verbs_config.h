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
//   wire pcap IN OUT     the frames of one capture arrive, and what is sent goes to another; - for none. OUT is pcapng
//                         when its name ends so, and otherwise pcap
//
//   fault ...             what goes wrong (SoftwareVerbsFaults), as below; several lines add up
//   control PATH          a socket on which the device takes orders, while a process has it open
//
// Faults, of which those of frames befall one direction, by chance (0 to 1) or by number, from 1:
//   fault send|receive lose|duplicate CHANCE|frame N
//   fault send|receive reorder CHANCE|frame N [by FRAMES]
//   fault send|receive delay CHANCE|frame N [by MICROSECONDS]
//   fault late MICROSECONDS    completions are seen so much later
//   fault overrun yes|no       full completion queues are overrun
//   fault seed N
//   fault none                 nothing of all that any more
//
// Orders, with `sluice-softverbs --tell PATH ORDER`: a fault as above, and
//   cable pull|plug
//   queue NUMBER|all error     queue pairs, work queues
//   completions NUMBER overrun
//   remove                     the card is pulled out
//   show                       which queues there are, and what the port has done
//
// Each process that opens a device makes one of its own, with its own end of the wire: two that are to talk open two
// devices of a file. The control socket is that of the first process; others that open the device do without.

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

// Gives an order to the device whose control socket is at `path`, and returns what it says, which for most is nothing.
// kInvalidArgument with what it does not like; kUnavailable when nobody answers. Waits up to five seconds.
SLUICE_EXPORT absl::StatusOr<std::string> TellSoftwareVerbs(const std::string& path, absl::string_view order);

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
