// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_SPOILING_WIRE_H_
#define SLUICE_TESTS_NIC_SPOILING_WIRE_H_

// A wire that breaks one bit in each of the first full frames that are sent through it: to see that whoever judges
// the frames notices.

#include <cstdint>
#include <memory>
#include <utility>

#include "tests/nic/forwarding_wire.h"

namespace sluice::testing {

// What is broken. The inner ones are of the packet in the tunnel, or of the only one.
enum class SpoiledField { kOuterIpv4, kOuterUdp, kInnerIpv4, kTcpChecksum, kPayload };

struct SpoilPlan {
  SpoiledField field = SpoiledField::kPayload;
  uint32_t frames = 0;  // how many; 0 = none, and the wire is as the one inside
};

class SpoilingWire final : public ForwardingWire {
 public:
  SpoilingWire(std::unique_ptr<Wire> inner, const SpoilPlan& plan)
      : ForwardingWire(std::move(inner)), plan_(plan) {}

  size_t Transmit(uint16_t lane, Burst& burst) override;

 private:
  void Spoil(Packet& packet);

  const SpoilPlan plan_;
  uint32_t spoiled_ = 0;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_SPOILING_WIRE_H_
