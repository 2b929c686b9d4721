// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_OPEN_PORT_H_
#define SLUICE_CONTROL_OPEN_PORT_H_

// Ports as text, for command lines and configuration files:
//
//   xdp:IFNAME        AF_XDP on a kernel interface     native=, zero-copy=, busy-poll= (require, prefer or off),
//                                                      allow-default-route=yes
//   rdma:DEVICE/PORT  an RDMA NIC, through libibverbs  take= (all, own or nothing), mac=ADDRESS, mtu=BYTES, inline=BYTES,
//                                                      marks= (yes or no), extended= (require, prefer or off), lag-port=N,
//                                                      direct=, compressed=, striding=, lro= (as extended=)
//   vhost:PATH        a guest's network card           role=server (or client), mtu=BYTES, copy-up-to=BYTES, checksums=,
//                                                      tso=, uso=, packed= (require, prefer or off),
//                                                      copy-engine= (off, cpu or model)
//   packet:IFNAME     AF_PACKET on a kernel interface  netns=FILE
//   tap:IFNAME        a TAP interface of the kernel    netns=FILE, checksums=, tso=, uso= (require, prefer or off)
//   shm:PATH          shared memory to a process       role=server (or client)
//   pcap:FILE         a capture file comes in          out=FILE, speed=N (0 = flat out), loops=N (0 = for ever)
//   model:WIRE        a model NIC                      WIRE is null (makes and swallows frames) or loop
//
// Options follow the name, each behind a comma: "xdp:eth1,zero-copy=require". packet, tap, shm and model are a ModelNic over
// the wire named. Use the open function of a backend when there is a program, and not a person, that chooses.

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"
#include "sluice/nic/nic.h"

namespace sluice {

// kInvalidArgument for a text that is none of the above, naming the part and what could stand there; else what the backend
// says. The Nic is not started. Control thread.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Nic>> OpenPort(absl::string_view text);

}  // namespace sluice

#endif  // SLUICE_CONTROL_OPEN_PORT_H_
