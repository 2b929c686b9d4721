// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_FLOW_KEY_H_
#define SLUICE_PACKET_FLOW_KEY_H_

// What names a flow: addresses, protocol and ports of one direction. A value, to look up and to print. Made
// from a parsed packet by ExtractFlowKey (parse.h).

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <utility>

#include "sluice/base/export.h"
#include "sluice/packet/headers.h"

namespace sluice {

struct SLUICE_EXPORT FlowKey {
  std::array<uint8_t, 16> source{};  // network order; of IPv4 the first four bytes, the rest zero
  std::array<uint8_t, 16> destination{};
  uint16_t source_port =
      0;  // host order; 0 unless TCP or UDP, and 0 for fragments, which do not all carry ports
  uint16_t destination_port = 0;
  IpProtocol protocol{};
  bool ipv6 = false;

  // The flow of the answers.
  FlowKey Reversed() const {
    return {.source = destination,
            .destination = source,
            .source_port = destination_port,
            .destination_port = source_port,
            .protocol = protocol,
            .ipv6 = ipv6};
  }

  // "10.0.0.1:1000 > 10.0.0.2:80 tcp", "[2001:db8::1]:53 > [2001:db8::2]:53 udp".
  std::string ToString() const;

  auto operator<=>(const FlowKey&) const = default;

  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, const FlowKey& key) {
    return Hash::combine(std::move(hash), key.source, key.destination, key.source_port, key.destination_port,
                         key.protocol, key.ipv6);
  }
};

}  // namespace sluice

#endif  // SLUICE_PACKET_FLOW_KEY_H_
