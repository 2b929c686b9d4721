// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/flow_key.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

std::string EndText(const std::array<uint8_t, 16>& address, bool ipv6, uint16_t port) {
  if (ipv6) return absl::StrCat("[", Ipv6Address(address).ToString(), "]:", port);
  std::array<uint8_t, 4> bytes;
  std::copy_n(address.begin(), bytes.size(), bytes.begin());
  return absl::StrCat(Ipv4Address(bytes).ToString(), ":", port);
}

std::string ProtocolText(IpProtocol protocol) {
  switch (protocol) {
    case IpProtocol::kTcp:
      return "tcp";
    case IpProtocol::kUdp:
      return "udp";
    case IpProtocol::kIcmp:
      return "icmp";
    case IpProtocol::kIcmpv6:
      return "icmpv6";
    default:
      return absl::StrCat("protocol ", static_cast<int>(protocol));
  }
}

}  // namespace

std::string FlowKey::ToString() const {
  return absl::StrCat(EndText(source, ipv6, source_port), " > ", EndText(destination, ipv6, destination_port),
                      " ", ProtocolText(protocol));
}

}  // namespace sluice
