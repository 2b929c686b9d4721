// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_CAPTURE_WIRE_H_
#define SLUICE_NIC_CAPTURE_WIRE_H_

// A wire whose other end are files: the frames of one capture arrive, and what is sent is written to another.
//
//   in.pcap ──▶ Receive        Transmit ──▶ out.pcapng
//
//   auto wire = MakeCaptureWire({.read_path = "in.pcap", .write_path = "out.pcapng"});
//
// Use it to give a device that takes a Wire known traffic, and to see what it sends. For a Nic use capture_nic.h, which
// also keeps the pace of a file.
//
// Arrivals: each record once in the order of the file, as fast as they are received; from the beginning with each Open.
//   At the end nothing comes any more, and the link stays up. What cannot be a frame is dropped: kMalformed when it is of
//   no Ethernet, kTooShort, kTooLong; a file that is cut off gives its whole records, and one more drop as kMalformed.
// Sent: the file is made with the first Open and goes on with the next. Records reach it with Reclaim or Close. Should it
//   not be written any more (disk full), what is sent is dropped as kDeviceError.
// Threads: as wire.h. Cost: calls read and write files, and may wait for a disk.

#include <memory>
#include <string>

#include "sluice/base/export.h"
#include "sluice/nic/wire.h"
#include "sluice/packet/capture_file.h"

namespace sluice {

struct CaptureWireOptions {
  std::string read_path = {};  // pcap or pcapng; empty: nothing arrives
  std::string write_path =
      {};  // emptied if it is there; empty: what is sent is gone, and not counted as a drop
  CaptureFormat write_format = CaptureFormat::kPcapng;
};

// Open fails as CaptureReader and CaptureWriter do.
SLUICE_EXPORT std::unique_ptr<Wire> MakeCaptureWire(const CaptureWireOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_CAPTURE_WIRE_H_
