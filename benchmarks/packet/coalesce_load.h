// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_PACKET_COALESCE_LOAD_H_
#define SLUICE_BENCHMARKS_PACKET_COALESCE_LOAD_H_

// What is coalesced, by us and by the peer: flows that send segments of 1448 bytes with timestamps, each in its turn, in
// bursts of 32.
//
//   round   │ flow 0 │ flow 1 │ ... │ flow n │ flow 0 │ flow 1 │ ...      `segments` times, then all is flushed
//
// Packets are made, and freed, outside of what is timed, a group of 256 at a time: so their headers come out of the
// second-level cache, as from a stage that has just parsed them. The tunnel has one pair of ends, and tells its flows
// apart by the UDP source port, as RFC 7348 section 5 wants.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice::bench {

struct CoalesceLoad {
  size_t flows;
  size_t segments;  // of each flow, that become one packet
  bool vxlan = false;
  bool verify = false;  // no verdict of a device: checksums are looked at

  static constexpr size_t kGroup = 256;
  static constexpr size_t kPayload = 1448;
  static constexpr uint32_t kFirstId = 1000;  // who counts does so from anywhere; zero stays, often
  static constexpr size_t kTcp = sizeof(TcpHeader) + 12;
  static constexpr size_t kInside = sizeof(EthernetHeader) + sizeof(Ipv4Header) + kTcp;
  static constexpr size_t kOutside =
      sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader) + sizeof(VxlanHeader);

  size_t packets() const { return flows * segments; }
  size_t length() const { return (vxlan ? kOutside : 0) + kInside + kPayload; }

  // Whether a round ends with packet `i`.
  bool EndsRound(size_t i) const { return (i + 1) % packets() == 0; }

  // Writes the headers of packet `i`. The TCP checksum is left alone.
  void Write(size_t i, uint8_t* to) const {
    const auto flow = static_cast<uint32_t>(i % flows);
    const auto segment = static_cast<uint32_t>(i / flows % segments);
    if (vxlan) {
      const uint32_t length = static_cast<uint32_t>(this->length() - sizeof(EthernetHeader));
      WriteIp(to, 0x0a000001, IpProtocol::kUdp, length, kFirstId + segment);
      uint8_t* const udp = to + sizeof(EthernetHeader) + sizeof(Ipv4Header);
      *HeaderAt<UdpHeader>(udp, 0) = {.source_port = static_cast<uint16_t>(0xc000 + flow),
                                      .destination_port = kVxlanPort,
                                      .length = static_cast<uint16_t>(length - sizeof(Ipv4Header)),
                                      .checksum = {}};
      *HeaderAt<VxlanHeader>(udp, sizeof(UdpHeader)) = {
          .flags = VxlanHeader::kValidVni, .reserved = {}, .next_protocol = {}, .vni = 5000u, .reserved2 = 0};
      to += kOutside;
    }
    WriteIp(to, 0x0a010000 + flow, IpProtocol::kTcp, kInside + kPayload - sizeof(EthernetHeader),
            kFirstId + segment);
    uint8_t* const tcp = to + sizeof(EthernetHeader) + sizeof(Ipv4Header);
    *HeaderAt<TcpHeader>(tcp, 0) = {.source_port = static_cast<uint16_t>(1024 + flow),
                                    .destination_port = uint16_t{5001},
                                    .sequence = static_cast<uint32_t>(segment * kPayload),
                                    .acknowledgment = 77u,
                                    .data_offset = kTcp / 4 << 4,
                                    .flags = TcpHeader::kAck,
                                    .window = uint16_t{500},
                                    .checksum = {},
                                    .urgent = {}};
    *HeaderAt<Be32>(tcp, sizeof(TcpHeader)) = 0x0101080au;
    *HeaderAt<Be32>(tcp, sizeof(TcpHeader) + 4) = 1000u;
    *HeaderAt<Be32>(tcp, sizeof(TcpHeader) + 8) = 2000u;
  }

 private:
  static void WriteIp(uint8_t* to, uint32_t source, IpProtocol protocol, uint32_t length, uint32_t id) {
    *HeaderAt<EthernetHeader>(to, 0) = {.destination = MacAddress({2, 0, 0, 0, 0, 1}),
                                        .source = MacAddress({2, 0, 0, 0, 0, 2}),
                                        .type = Ethertype::kIpv4};
    auto* const ip = HeaderAt<Ipv4Header>(to, sizeof(EthernetHeader));
    const auto bytes = [](uint32_t address) {
      return Ipv4Address({static_cast<uint8_t>(address >> 24), static_cast<uint8_t>(address >> 16),
                          static_cast<uint8_t>(address >> 8), static_cast<uint8_t>(address)});
    };
    *ip = {.version_ihl = 0x45,
           .dscp_ecn = 0,
           .total_length = static_cast<uint16_t>(length),
           .id = static_cast<uint16_t>(id),
           .flags_offset = Ipv4Header::kDontFragment,
           .ttl = 64,
           .protocol = protocol,
           .checksum = {},
           .source = bytes(source),
           .destination = bytes(0x0a020001)};
    ip->checksum = Checksum(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(ip), sizeof(Ipv4Header)));
  }
};

// What a packet costs that goes in. `Side` makes the packets from..from+n (Make), coalesces them and flushes after each
// round (Work), and frees what came out and says how many they were (Free).
template <typename Side>
absl::StatusOr<double> CostOfRounds(const CoalesceLoad& load, Side& side) {
  using Clock = std::chrono::steady_clock;
  constexpr double kEnough = 4e6;
  const size_t packets = std::max(load.packets(), CoalesceLoad::kGroup);
  double nanoseconds = 0;
  size_t in = 0;
  while (nanoseconds < kEnough) {
    size_t out = 0;
    for (size_t from = 0; from < packets; from += CoalesceLoad::kGroup) {
      side.Make(from, CoalesceLoad::kGroup);
      const Clock::time_point start = Clock::now();
      side.Work(from);
      nanoseconds += std::chrono::duration<double, std::nano>(Clock::now() - start).count();
      out += side.Free();
    }
    in += packets;
    if (out * load.segments != packets) {
      return absl::InternalError(absl::StrCat(out, " packets came of ", packets));
    }
  }
  return nanoseconds / static_cast<double>(in);
}

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_PACKET_COALESCE_LOAD_H_
