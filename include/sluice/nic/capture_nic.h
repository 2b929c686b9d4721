// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_CAPTURE_NIC_H_
#define SLUICE_NIC_CAPTURE_NIC_H_

// A port whose wire is a file: frames of a capture arrive as if from a network, and what is sent is written to another.
//
//   in.pcap ──▶ rx(0) ──▶ (your stages) ──▶ tx(0) ──▶ out.pcapng
//
//   auto nic = OpenCaptureNic({.read_path = "in.pcap", .write_path = "out.pcapng"});
//
// Use it to replay traffic, to look at what a program does with it, and in tests. To capture beside live traffic, or
// to read a file without a Nic, use capture_file.h.
//
// Receive: one queue, in the order of the file, each Start from its beginning; stamped with the file's own times.
//   Nothing is lost to a slow program: the file waits. At its end the link goes down, with an event. A file that is
//   cut off gives its whole records, then a kQueueError event with the reason and one drop as kMalformed. Frames
//   longer than a buffer come in fragments. What a capture kept only in part arrives as that part; what is no
//   Ethernet frame is counted as kMalformed.
// Send: one queue; offloads are finished in software, and what asks to be cut is written as its segments. Records
//   are buffered, and reach the file at the latest with Reclaim, Stop, or the end of the Nic; it goes on after the
//   end of the file that is read. The file is made when the Nic is opened, and goes on over Stop and Start. When it cannot be written any more (disk full) there is one
//   kQueueError event; what was sent since the last Reclaim, and all that follows, is dropped as kDeviceError.
// Threads: as nic.h. Cost: reads and writes files as it goes, so a call may wait for a disk. Sleeping: Arm and fd work
//   unless paced by a clock of the caller's; a file that is read flat out lets nobody sleep before its end.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/nic/nic.h"
#include "sluice/packet/capture_file.h"

namespace sluice {

struct CaptureNicOptions {
  std::string name = "capture";
  MacAddress mac = {};  // as told to others

  std::string read_path = {};  // pcap or pcapng; empty: nothing arrives, and the link stays up
  double speed = 0;    // 1 = with the file's gaps, 10 = ten times as fast; 0 = as fast as it is received
  uint32_t loops = 1;  // how often the file is read, one time right behind the other; 0 = for ever

  std::string write_path = {};  // emptied if it is there; empty: what is sent is dropped as kNoDestination
  CaptureFormat write_format = CaptureFormat::kPcapng;
  bool keep_times = false;  // write Packet::timestamp() where there is one that the format can tell, not the
                            // time of sending

  const Clock* clock = nullptr;  // of the pace; outlives the Nic. Null = Clock::Monotonic()
};

// Refuses options out of range, and a file to read that is no capture of Ethernet (kInvalidArgument); a path that
// cannot be had as the system says (kNotFound, kPermissionDenied, ...).
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Nic>> OpenCaptureNic(const CaptureNicOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_CAPTURE_NIC_H_
