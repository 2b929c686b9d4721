// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_TUNNEL_HEADERS_H_
#define SLUICE_PACKET_TUNNEL_HEADERS_H_

// The headers that stand between an outer packet and an inner one. As headers.h: alignment 1, laid over the
// bytes.

#include <cstddef>
#include <cstdint>

#include "sluice/packet/big_endian.h"
#include "sluice/packet/headers.h"

namespace sluice {

// UDP destination ports that announce a tunnel (iana.org/assignments/service-names-port-numbers).
inline constexpr uint16_t kVxlanPort = 4789;
inline constexpr uint16_t kVxlanGpePort = 4790;
inline constexpr uint16_t kGenevePort = 6081;
inline constexpr uint16_t kMplsUdpPort = 6635;

// What NSH and VXLAN-GPE say comes next (RFC 8300, 2.2; draft-ietf-nvo3-vxlan-gpe, 3.2).
enum class TunnelProtocol : uint8_t { kIpv4 = 1, kIpv6 = 2, kEthernet = 3, kNsh = 4, kMpls = 5 };

// RFC 7348, 5; with the P flag draft-ietf-nvo3-vxlan-gpe, 3.
struct VxlanHeader {
  static constexpr uint8_t kValidVni = 0x08;      // I: must be set
  static constexpr uint8_t kNextProtocol = 0x04;  // P: next_protocol is meaningful; of port 4790 only
  static constexpr uint8_t kVersion = 0x30;       // must be clear; of port 4790 only

  uint8_t flags;
  Be16 reserved;
  TunnelProtocol next_protocol;
  Be24 vni;
  uint8_t reserved2;
};

// RFC 8926, 3.4.
struct GeneveHeader {
  uint8_t version_length;  // 2 bits version, 6 bits length of the options in 4 bytes
  uint8_t flags;
  BigEndian<Ethertype> type;
  Be24 vni;
  uint8_t reserved;

  uint8_t version() const { return version_length >> 6; }
  uint32_t options_length() const { return (version_length & 0x3fu) * 4; }  // bytes
};

// RFC 8926, 3.5.
struct GeneveOption {
  Be16 option_class;
  uint8_t type;
  uint8_t length;  // low 5 bits: bytes of data in 4 bytes

  uint32_t total_length() const { return 4 + (length & 0x1fu) * 4; }  // bytes, this header included
};

// RFC 2784, 2.1 and RFC 2890, 2. With the key alone and an Ethernet frame inside it is NVGRE: RFC 7637, 3.2.
struct GreHeader {
  static constexpr uint16_t kChecksum = 0x8000;
  static constexpr uint16_t kRouting = 0x4000;  // RFC 1701; not understood
  static constexpr uint16_t kKey = 0x2000;
  static constexpr uint16_t kSequence = 0x1000;
  static constexpr uint16_t kVersion = 0x0007;

  Be16 flags;
  BigEndian<Ethertype> type;

  bool has(uint16_t flag) const { return (flags.get() & flag) != 0; }
  uint32_t header_length() const {  // bytes, optional fields included
    return 4 + 4u * has(kChecksum) + 4u * has(kKey) + 4u * has(kSequence);
  }
};

// RFC 8300, 2.2 and 2.3.
struct NshHeader {
  Be16 version_ttl_length;
  uint8_t md_type;  // low 4 bits
  TunnelProtocol next_protocol;
  Be32 path_index;  // 24 bits service path, 8 bits service index

  uint8_t version() const { return static_cast<uint8_t>(version_ttl_length.get() >> 14); }
  uint32_t header_length() const {
    return (version_ttl_length.get() & 0x3fu) * 4;
  }  // bytes, context included
};

// RFC 3032, 2.1.
struct MplsLabel {
  Be32 entry;

  uint32_t label() const { return entry.get() >> 12; }
  bool bottom() const { return (entry.get() & 0x100) != 0; }
};

static_assert(sizeof(VxlanHeader) == 8 && alignof(VxlanHeader) == 1);
static_assert(sizeof(GeneveHeader) == 8 && alignof(GeneveHeader) == 1);
static_assert(sizeof(GeneveOption) == 4 && alignof(GeneveOption) == 1);
static_assert(sizeof(GreHeader) == 4 && alignof(GreHeader) == 1);
static_assert(sizeof(NshHeader) == 8 && alignof(NshHeader) == 1);
static_assert(sizeof(MplsLabel) == 4 && alignof(MplsLabel) == 1);

}  // namespace sluice

#endif  // SLUICE_PACKET_TUNNEL_HEADERS_H_
