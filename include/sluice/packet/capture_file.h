// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_CAPTURE_FILE_H_
#define SLUICE_PACKET_CAPTURE_FILE_H_

// Capture files: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), read and written a
// record at a time.
//
//   absl::StatusOr<std::unique_ptr<CaptureReader>> reader = CaptureReader::Open("in.pcap");
//   CaptureRecord record;
//   for (;;) {
//     absl::StatusOr<bool> more = (*reader)->Read(record);
//     if (!more.ok()) return more.status();   // what came before it was whole
//     if (!*more) break;                      // the end
//     ...
//   }
//
// Read: both byte orders, micro- and nanoseconds, any pcapng time unit; in pcapng several sections and
// interfaces, enhanced, simple and (old) packet blocks; blocks of other kinds are skipped. The link type is
// told, not interpreted; a frame check sequence, where the file has one, is left on the frame.
//
// Not for the data path: a call reads from, or writes to, a file, and may block. To send a capture through
// queues use capture_nic.h. Memory: one record, whatever the size of the file. Threads: one at a time for
// each reader or writer. Errors name the file, the offset in bytes and what to do. kNotFound,
// kPermissionDenied and the like as the system says; kInvalidArgument: not a capture file; kDataLoss: cut off
// in a record, or a length that cannot be.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/packet/packet.h"

namespace sluice {

inline constexpr uint16_t kLinkEthernet = 1;          // LINKTYPE_ETHERNET; others: tcpdump.org/linktypes.html
inline constexpr uint32_t kMaxCaptureBytes = 262144;  // of one record; what tcpdump and Wireshark allow

enum class CaptureFormat : uint8_t {
  kPcapng,            // nanoseconds, interface names, comments
  kPcapNanoseconds,   // one interface without a name
  kPcapMicroseconds,  // likewise, for old readers
};

struct CaptureInterface {
  std::string name = {};  // empty when the file does not say
  uint16_t link_type = kLinkEthernet;
  uint32_t snap_length = 0;  // most bytes kept of a frame; 0 = all
};

struct CaptureRecord {
  Nanoseconds timestamp = 0;     // since 1970 (UTC); 0 when the file does not say
  uint32_t original_length = 0;  // of the frame, in bytes; at least bytes.size()
  uint32_t interface = 0;        // index into interfaces()
  uint16_t link_type = kLinkEthernet;
  absl::Span<const uint8_t> bytes = {};  // what was kept of the frame; when read, valid until the next Read
};

class SLUICE_EXPORT CaptureReader {
 public:
  static absl::StatusOr<std::unique_ptr<CaptureReader>> Open(const std::string& path);
  ~CaptureReader();
  CaptureReader(const CaptureReader&) = delete;
  CaptureReader& operator=(const CaptureReader&) = delete;

  // The next record, in the order of the file; false at the end. An error is final: later calls repeat it.
  absl::StatusOr<bool> Read(CaptureRecord& record);

  CaptureFormat format() const;
  // Those described so far; of pcapng, in the section of the last record. A pcap file has one.
  const std::vector<CaptureInterface>& interfaces() const;

 private:
  struct State;
  explicit CaptureReader(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

struct CaptureWriterOptions {
  CaptureFormat format = CaptureFormat::kPcapng;
  // At least one; pcap takes exactly one, and has no place for its name. A snap_length cuts what is written.
  std::vector<CaptureInterface> interfaces = {CaptureInterface{}};
  std::string application = {};  // who writes, told in the section header of pcapng; may be empty
};

class SLUICE_EXPORT CaptureWriter {
 public:
  // Makes the file, or empties the one that is there, and writes its header.
  static absl::StatusOr<std::unique_ptr<CaptureWriter>> Create(const std::string& path,
                                                               const CaptureWriterOptions& options);
  ~CaptureWriter();  // closes; call Close first to know whether all was written
  CaptureWriter(const CaptureWriter&) = delete;
  CaptureWriter& operator=(const CaptureWriter&) = delete;

  // Appends a record; its link type is that of its interface. `comment` is shown by readers of pcapng, and
  // refused for pcap (kInvalidArgument), as is an interface that was not described. kOutOfRange for more than
  // kMaxCaptureBytes to keep, and in pcap for times after 2106.
  absl::Status Write(const CaptureRecord& record, absl::string_view comment = {});
  // The same for a whole packet, across fragments.
  absl::Status Write(const Packet& packet, Nanoseconds timestamp, uint32_t interface = 0,
                     absl::string_view comment = {});

  // Hands everything written so far to the system. Records are buffered until then.
  absl::Status Flush();
  // Flushes and closes; only the destructor may follow.
  absl::Status Close();

 private:
  struct State;
  explicit CaptureWriter(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_CAPTURE_FILE_H_
