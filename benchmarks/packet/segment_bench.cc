// SPDX-License-Identifier: Apache-2.0
// A TCP frame of 63,712 bytes, in a chain of buffers, cut into 44 of 1,448 with timestamps; per frame that comes out. Both
// sides make the chain, refer to its payload, and free everything. The peer's buffers hold 2,048 bytes each, ours 1,920.

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/dpdk/gso.h"
#include "benchmarks/paired.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kPayload = 63712;
constexpr uint16_t kSize = 1448;
constexpr uint32_t kTcp = 32;  // with timestamps

template <typename H>
void Append(std::vector<uint8_t>& to, const H& header) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(&header);
  to.insert(to.end(), bytes, bytes + sizeof(H));
}

void AppendIp(std::vector<uint8_t>& to, IpProtocol protocol, uint32_t inside) {
  Append(to, EthernetHeader{.destination = {}, .source = {}, .type = Ethertype::kIpv4});
  Append(to, Ipv4Header{.version_ihl = 0x45,
                        .dscp_ecn = 0,
                        .total_length = static_cast<uint16_t>(sizeof(Ipv4Header) + inside),
                        .id = {},
                        .flags_offset = {},
                        .ttl = 64,
                        .protocol = protocol,
                        .checksum = {},
                        .source = Ipv4Address({10, 0, 0, 1}),
                        .destination = Ipv4Address({10, 0, 0, 2})});
}

// The headers of the frame, outer UDP checksum zero, as they mostly are.
std::vector<uint8_t> HeaderBytes(bool vxlan) {
  std::vector<uint8_t> bytes;
  if (vxlan) {
    constexpr uint32_t kInner = sizeof(EthernetHeader) + sizeof(Ipv4Header) + kTcp + kPayload;
    constexpr uint32_t kUdp = sizeof(UdpHeader) + sizeof(VxlanHeader) + kInner;
    AppendIp(bytes, IpProtocol::kUdp, kUdp);
    Append(bytes, UdpHeader{.source_port = uint16_t{50000},
                            .destination_port = kVxlanPort,
                            .length = static_cast<uint16_t>(kUdp),
                            .checksum = {}});
    Append(
        bytes,
        VxlanHeader{
            .flags = VxlanHeader::kValidVni, .reserved = {}, .next_protocol = {}, .vni = 7u, .reserved2 = 0});
  }
  AppendIp(bytes, IpProtocol::kTcp, kTcp + kPayload);
  Append(bytes, TcpHeader{.source_port = uint16_t{1000},
                          .destination_port = uint16_t{2000},
                          .sequence = 1u,
                          .acknowledgment = 1u,
                          .data_offset = kTcp / 4 << 4,
                          .flags = TcpHeader::kAck | TcpHeader::kPsh,
                          .window = uint16_t{1000},
                          .checksum = {},
                          .urgent = {}});
  bytes.resize(bytes.size() + kTcp - sizeof(TcpHeader), 1);  // no-operation options
  return bytes;
}

class Cutter {
 public:
  Cutter(std::unique_ptr<PacketPool> pool, bool vxlan, bool finish)
      : pool_(std::move(pool)),
        headers_(HeaderBytes(vxlan)),
        segmenter_({.pool = pool_.get(), .finish_checksums = finish}) {
    Parse(headers_, static_cast<uint32_t>(headers_.size()) + kPayload, layers_);
  }

  const std::vector<uint8_t>& headers() const { return headers_; }
  const Layers& layers() const { return layers_; }

  // Returns how many segments; 0 when it failed.
  size_t Cut() {
    PacketPtr big = Make();
    if (big == nullptr || segmenter_.Begin(big)) return 0;
    Burst burst;
    const size_t made = segmenter_.Next(burst);
    MustBeInMemory(&burst);
    return made;
  }

 private:
  // Whatever the buffers hold is the payload. Null when the pool is dry.
  PacketPtr Make() {
    Burst pieces;
    const uint32_t room = pool_->options().buffer_size - pool_->options().headroom;
    uint32_t left = static_cast<uint32_t>(headers_.size()) + kPayload;
    const size_t count = (left + room - 1) / room;
    if (pool_->Get(pieces, count) < count) return nullptr;
    PacketPtr big = pieces.PopFront();
    big->SetLength(room);
    left -= room;
    big->CountLinked(left);
    for (Packet* last = big.get(); left > 0; last = last->next()) {
      PacketPtr next = pieces.PopFront();
      next->SetLength(std::min(room, left));
      left -= next->length();
      last->Link(std::move(next));
    }
    std::memcpy(big->data(), headers_.data(), headers_.size());
    big->layers() = layers_;
    big->offload = {.l4_checksum = true, .segment = true, .mss = kSize};
    return big;
  }

  const std::unique_ptr<PacketPool> pool_;
  const std::vector<uint8_t> headers_;
  Layers layers_;
  Segmenter segmenter_;
};

absl::StatusOr<Pair> Open(bool vxlan, bool finish) {
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({});
  if (!pool.ok()) return pool.status();
  const auto cutter = std::make_shared<Cutter>(*std::move(pool), vxlan, finish);
  if (cutter->Cut() != kPayload / kSize) return absl::InternalError("the frame was not cut");
  const LayerOffsets& at = Select(cutter->layers(), LayerSet::kInnermost);
  const dpdk::GsoFrame frame = {.headers = cutter->headers(),
                                .payload = kPayload,
                                .outer_l3 = cutter->layers().outer.l3,
                                .inner_l3 = at.l3,
                                .l4 = at.l4,
                                .size = kSize,
                                .vxlan = vxlan,
                                .finish_checksums = finish};
  return MakePair(NanosecondsPer([cutter](size_t n) {
                    for (size_t done = 0; done < n;) {
                      const size_t made = cutter->Cut();
                      if (made == 0) return;
                      done += made;
                    }
                  }),
                  dpdk::Gso(frame));
}

Case SegmentCase(const std::string& variant, bool vxlan, bool finish) {
  return {.work = "packet/segment/" + variant,
          .unit = "ns/segment",
          .peer = "rte_gso_segment",
          .peer_mode = finish ? "+ rte_ipv4_cksum, rte_ipv4_udptcp_cksum_mbuf" : "checksums left undone",
          .goal = 3,
          .open = [vxlan, finish] { return Open(vxlan, finish); }};
}

const Registration plain(SegmentCase("plain", false, false));
const Registration vxlan(SegmentCase("vxlan", true, false));
const Registration plain_checksums(SegmentCase("plain_checksums", false, true));
const Registration vxlan_checksums(SegmentCase("vxlan_checksums", true, true));

}  // namespace
}  // namespace sluice::bench
