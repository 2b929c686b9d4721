// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "nic/softverbs/spread_internal.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

class Input {
 public:
  void Add(bool wanted, const void* field, size_t size) {
    if (!wanted) return;
    std::copy_n(static_cast<const uint8_t*>(field), size, bytes_.data() + size_);
    size_ += size;
  }
  absl::Span<const uint8_t> bytes() const { return absl::MakeConstSpan(bytes_).first(size_); }

 private:
  std::array<uint8_t, ToeplitzKey::kMaxInput> bytes_;
  size_t size_ = 0;
};

}  // namespace

uint32_t SoftSpread::Hash(const Packet& packet) const {
  const LayerOffsets& at = Select(packet.layers(), fields_.inner ? LayerSet::kInnermost : LayerSet::kOuter);
  const uint8_t* const data = packet.data();
  Input input;
  if (at.l3_type == L3Type::kIpv4) {
    const auto* const ip = HeaderAt<Ipv4Header>(data, at.l3);
    input.Add(fields_.source4, &ip->source, sizeof(ip->source));
    input.Add(fields_.destination4, &ip->destination, sizeof(ip->destination));
  } else if (at.l3_type == L3Type::kIpv6) {
    const auto* const ip = HeaderAt<Ipv6Header>(data, at.l3);
    input.Add(fields_.source6, &ip->source, sizeof(ip->source));
    input.Add(fields_.destination6, &ip->destination, sizeof(ip->destination));
  }
  // TCP and UDP begin alike.
  const bool tcp = at.l4_type == L4Type::kTcp, udp = at.l4_type == L4Type::kUdp;
  if (tcp || udp) {
    const auto* const ports = HeaderAt<UdpHeader>(data, at.l4);
    input.Add(tcp ? fields_.tcp_source : fields_.udp_source, &ports->source_port, sizeof(Be16));
    input.Add(tcp ? fields_.tcp_destination : fields_.udp_destination, &ports->destination_port,
              sizeof(Be16));
  }
  return key_.Hash(input.bytes());
}

}  // namespace sluice
