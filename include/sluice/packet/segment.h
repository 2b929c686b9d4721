// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_SEGMENT_H_
#define SLUICE_PACKET_SEGMENT_H_

// Cuts a packet that asks for it (OffloadRequest::segment) into frames: TCP segmentation (TSO), UDP (USO), plain or in
// any tunnel that Parse understands. What a NIC does that can; for one that cannot, and the model of one that can.
//
//   big   │ headers │ payload ...................................................... │   in any number of pieces
//                      ▲                    ▲                    ▲
//   out   │ headers 0 │┘       │ headers 1 │┘      │ headers 2 │┘      small packets that borrow the payload
//
//   Segmenter segmenter({.pool = pool});
//   if (std::optional<DropReason> reason = segmenter.Begin(packet)) return Drop(*reason, packet);
//   while (!segmenter.done()) {
//     segmenter.Next(burst);
//     ... send the burst ...
//   }
//
// Headers, in the copy that each segment gets:
//   IPv4          total length, header checksum finished; identification +1 a segment (RFC 6864 asks for no more), or, with
//                 DF, the same in all where OffloadRequest::fixed_ids says so
//   IPv6          payload length; a jumbo payload option (RFC 2675) in a header of its own goes
//   TCP           sequence; FIN and PSH only on the last, CWR only on the first (RFC 3168, 6.1.2); an urgent pointer
//                 as long as it points ahead
//   UDP           length: each segment is a datagram
//   outside of a tunnel: likewise, and the UDP or GRE checksum where there was one, always finished: the inner
//                 checksum makes the sum of what it covers known, so no payload is read for it
//   L4 checksum   finished, or left to the next device with the pseudo-header's sum in place; a UDP checksum of zero
//                 for which none is asked stays zero
// The rest is copied, VLAN tags and tunnel options among it. A copy lies behind the pool's headroom, or further on: buffers
// stand a power of two apart, and headers in the same place of each would share few sets of the first cache.
//
// Refused, with the packet left as it was: kUnsupportedOffload for neither TCP nor UDP, an IP fragment, an
//   authentication header, a GRE sequence number, SYN or RST on more than one segment, no segment size, more than
//   max_segments; kMalformed for a packet that does not end where its headers say; kTooLong for headers that do not fit
//   a buffer or a segment that its length fields cannot tell.
//
// Threads: a Segmenter has one user at a time; the segments may go to any threads, and the last of them to be freed
//   frees the big packet there.
// Cost: two packets of the pool a segment, and one more for each border between pieces of the payload; nothing is
//   allocated, and no byte of the payload touched unless checksums are finished (benchmarks: packet/segment).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "sluice/base/drop_reason.h"
#include "sluice/base/export.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/shared_packet.h"

namespace sluice {

// Arithmetic of MTU, headers and payload: here, and nowhere else.
// ---------------------------------------------------------------------------------------------------------

// The bytes of L4 payload in a frame that fills `mtu`, at most 65535. `headers` counts all that the MTU does, up to the
// payload: outer IP, UDP, tunnel with options, inner Ethernet with tags, inner IP and TCP with options. 0 when nothing
// is left. As in: MTU 9000, VXLAN over IPv4 (50), TCP over IPv4 with timestamps (52) -> 8898.
constexpr uint16_t PayloadForMtu(uint32_t mtu, uint32_t headers) {
  const uint32_t payload = mtu > headers ? mtu - headers : 0;
  return payload < 0xffff ? static_cast<uint16_t>(payload) : uint16_t{0xffff};
}
// `headers` of a parsed packet: an MTU counts from behind the outer Ethernet header and its tags.
SLUICE_EXPORT uint32_t HeadersWithinMtu(const Layers& layers);

// The payload of each segment but the last. mss_override counts where it is the larger, and only for TCP: between UDP
// datagrams the boundary is the sender's.
SLUICE_EXPORT uint16_t SegmentSize(const OffloadRequest& request, L4Type type);

// How many segments; one also without payload. `size` is not 0.
constexpr uint32_t SegmentCount(uint32_t payload, uint16_t size) {
  return payload == 0 ? 1 : (payload + size - 1) / size;
}

struct SegmentOptions {
  PacketPool* pool = nullptr;    // of the segments' packets; needed, and outlives them
  OwnerId owner = kNobody;       // who pays for them
  bool finish_checksums = true;  // false: leave the innermost L4 checksum to the next device, and ask for it
  uint32_t max_segments =
      1024;  // of one packet: so that a tiny size makes no flood. BIG TCP of 512 KiB takes 371
};

class SLUICE_EXPORT Segmenter {
 public:
  explicit Segmenter(const SegmentOptions& options);
  ~Segmenter();  // gives up what is left
  Segmenter(const Segmenter&) = delete;
  Segmenter& operator=(const Segmenter&) = delete;

  // Takes over `packet`, which asks for segmenting and was parsed with verdict kOk, its headers in one piece. Must be
  // done() with the one before. A reason means that it cannot be cut, and is the caller's still.
  std::optional<DropReason> Begin(PacketPtr& packet);

  // Appends up to out.room() segments, in order, and returns how many. Each has the layers(), and what else is known, of
  // the big packet. When the pool or the owner's allowance runs dry, the rest is lost().
  size_t Next(Burst& out);

  // Nothing is left of the packet.
  bool done() const { return left_ == 0; }
  // Makes no more segments of it.
  void Abandon() {
    left_ = 0;
    big_.Reset();
  }

  // Segments of this packet that were never made, for want of buffers (DropReason::kNoBuffer).
  uint32_t lost() const { return lost_; }
  // Of the longest segment: headers and payload.
  uint32_t frame_length() const;

 private:
  class Headers;
  class Stock;

  // Where the payload goes on: what is left of a piece.
  struct Place {
    const Packet* piece = nullptr;
    const uint8_t* data = nullptr;
    uint32_t bytes = 0;
  };
  static Place PlaceIn(const Packet* piece) {
    return {.piece = piece, .data = piece->data(), .bytes = piece->head_length()};
  }

  void Take(PacketPtr packet);
  size_t MakeAll(Stock& stock);
  size_t Make(absl::Span<Packet* const> heads, Stock& stock);
  size_t AttachPayloads(absl::Span<Packet* const> heads, uint32_t payload, Stock& stock);
  void GiveUp(Burst& out, absl::Span<Packet* const> unfinished);

  const SegmentOptions options_;
  const std::unique_ptr<Headers> headers_;
  SharedPacket big_;
  Place place_;
  uint32_t payload_left_ = 0;
  uint32_t size_ = 0;  // payload of each segment but the last
  uint32_t left_ = 0;  // segments
  uint32_t lost_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_SEGMENT_H_
