// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_COALESCE_H_
#define SLUICE_PACKET_COALESCE_H_

// Joins packets of a flow that follow one another into one big packet: what a NIC calls LRO and the kernel GRO, for
// a NIC that has none, and for the model of one that has. Whoever comes after pays its price per packet once
// instead of 44 times.
//
//   in    │ headers 0 │ a │     │ headers 1 │ b │     │ headers 2 │ c │
//                       └──────────┐          └────┐             │
//   out   │ headers │ a ├─▶ b ├─▶ c │     the first packet with the others' payload as fragments, nothing copied
//
//   auto coalescer = Coalescer::Create({.max_age = absl::Microseconds(50)});
//   for (;;) {
//     const Nanoseconds now = clock.Now();
//     rx.Receive(in);
//     for (size_t i = 0; i < in.size(); ++i) Parse(in[i]);  // whoever adds has parsed
//     while (!in.empty()) {
//       coalescer->Add(in, now, out);
//       ... take what is in `out` ...
//     }
//     coalescer->Flush(now, out);
//   }
//
// Use it in front of a consumer that handles big packets, as a guest that took the offloads. Do not use it where every
// microsecond counts, or where packets go out again one by one anyway.
//
// Reversible. Cutting a joined packet at coalesced_size() bytes, by the rules of segmenting, gives the packets that went
// in, byte for byte. So only what a segmenter can make again is joined: TCP with data, or UDP, over IPv4 or IPv6, plain or
// inside VXLAN or Geneve, whose headers are alike from the first byte to the last, but for
//   lengths           each says what the frame has, which ends with its datagram; all segments are as long as the first,
//                     and a shorter one is the last
//   sequence          the next byte
//   IPv4 id           one more than the segment before; or, where DF is set, the same in all (RFC 6864, 4.1), as 0 often is.
//                     Which of the two, inside and outside of the tunnel each for itself, the second segment decides
//   TCP flags         PSH and FIN end a packet, CWR only starts one (RFC 3168, 6.1.2); SYN, RST and URG are left alone
//   checksums         right, and as a sender computes it (RFC 1071); a UDP checksum may be absent in all
// which leaves TOS, ECN, TTL, DF, flow label, acknowledgment, window, TCP options with their timestamps, VLAN tags, MAC
// addresses, VNI, outer ports and addresses, Geneve options, and of the metadata ingress port, stripped VLAN and mark.
// IPv6 extension headers, a second tunnel and headers above kMostHeader bytes are left alone too.
//
// The joined packet is whole and right: lengths and all checksums, computed from those of the segments, hold for it, and
// its verdicts say so. Packet::coalesced_segments(), coalesced_size() and coalesced_ids() say how to undo it; to send it
// through something smaller, set offload.segment, offload.mss to that size, and offload.fixed_ids to those ids.
//
// Checksums: a verdict of kGood on a packet is believed for its innermost L4; without one it is verified here, and the
//   verdict noted. A bad one passes alone.
// Order: a flow's packets come out as they went in; whatever cannot be joined, as a pure ACK, releases what its flow has
//   here and follows it. A flow is the innermost addresses, ports, protocol, and the VNI; an IP fragment has no ports, so
//   it is of none. Between flows there is no order. Nothing is ever dropped.
// Released: when a segment ends the packet; when another one of its size would exceed max_bytes, max_segments; when a packet
//   of the flow cannot be joined; when it is max_age old, at the next Flush; when all places are taken and a new flow comes:
//   the oldest.
// Trust: headers are looked at in private memory only. A packet that borrows memory passes alone, for what is lent must not
//   be held; one with an offload request, or coalesced before, likewise.
// Threads: one at a time. Cost: one look-up a packet whatever the number of flows, its headers compared as a block,
//   no byte of payload touched but to verify; nothing allocated after Create (benchmarks: packet/coalesce). Memory: about
//   430 bytes a flow.
// State: none to save. Packets that are held cannot leave the process: FlushAll, then hand over.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/packet/burst.h"

namespace sluice {

struct CoalesceOptions {
  uint32_t flows = 1024;  // that can wait for more at a time, 1 to 65536
  // Bytes of a joined frame, Ethernet header included; 1 to 65535, above which length fields cannot tell.
  uint32_t max_bytes = 65535;
  uint16_t max_segments =
      64;  // of a joined frame, 2 to 1024; lower it to what the consumer's scatter lists hold
  // How long the first packet of a flow may wait; 0 = until the next Flush. Raise it for longer packets, lower it for
  // latency: it is what a flow that pauses in mid-burst pays.
  absl::Duration max_age = absl::Microseconds(50);
  bool tcp = true;
  bool udp = true;  // off where datagrams must come one by one
  // Of the function that finds flows. Give a random one where senders are hostile: who knows it can choose flows that slow
  // each other down.
  uint64_t hash_seed = 0;
};

// Why a packet that waited for more went out.
enum class CoalesceEnd : uint8_t {
  kLast,        // its last segment came: shorter, or with PSH or FIN
  kFull,        // max_bytes or max_segments
  kOrder,       // a segment came that does not follow, by sequence or IPv4 id
  kDifference,  // a segment came whose headers, or metadata, differ
  kOther,  // a packet of the flow came that is never joined: without data, SYN, RST, URG, bad checksum, ...
  kAge,
  kEvicted,  // a new flow took its place
  kAsked,    // FlushAll
};
inline constexpr size_t kCoalesceEnds = 8;

struct CoalesceStats {
  uint64_t packets = 0;                        // added
  uint64_t joined = 0;                         // of those, behind another: packets - joined came out, or wait
  std::array<uint64_t, kCoalesceEnds> ends{};  // by CoalesceEnd

  uint64_t of(CoalesceEnd end) const { return ends[static_cast<size_t>(end)]; }
};

class SLUICE_EXPORT Coalescer {
 public:
  static constexpr size_t kMostHeader =
      192;  // bytes up to the payload: IPv6 and TCP options in VXLAN in IPv6
  static constexpr uint32_t kMostFlows = 65536;

  // kInvalidArgument for an option out of range, with what to change.
  static absl::StatusOr<std::unique_ptr<Coalescer>> Create(const CoalesceOptions& options);

  // What is held goes back to its pools: FlushAll first where it matters.
  ~Coalescer();
  Coalescer(const Coalescer&) = delete;
  Coalescer& operator=(const Coalescer&) = delete;

  // Takes parsed packets from the front of `in` as long as `out` has room for two, and appends to `out` what is
  // released, or not of concern. The rest stays in `in`: take what is in `out`, and call again. `now` is the caller's
  // time, of any clock that never goes back.
  void Add(Burst& in, Nanoseconds now, Burst& out);

  // Appends what was first added max_age before `now` or earlier, oldest first, as long as `out` has room; returns how
  // many. Call it after each burst, and also when none comes.
  size_t Flush(Nanoseconds now, Burst& out);
  // The same for all that is held, whatever its age. When waiting() is not zero after, `out` was full: call again.
  size_t FlushAll(Burst& out);

  size_t waiting() const;  // flows that hold a packet, at most CoalesceOptions::flows
  // When Flush will next have something; 0 when nothing is held. For how long to sleep.
  Nanoseconds next_flush() const;

  CoalesceStats stats() const;  // any thread
  const CoalesceOptions& options() const { return options_; }

 private:
  class Core;

  Coalescer(const CoalesceOptions& options, std::unique_ptr<Core> core);

  const CoalesceOptions options_;
  const std::unique_ptr<Core> core_;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_COALESCE_H_
