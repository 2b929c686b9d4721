// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_SPOILING_WIRE_H_
#define SLUICE_TESTS_NIC_SPOILING_WIRE_H_

// A wire that breaks one bit in each of the first full frames that are sent through it: to see that whoever judges
// the frames notices.

#include <cstdint>
#include <memory>
#include <string>

#include "sluice/nic/wire.h"

namespace sluice::testing {

// What is broken. The inner ones are of the packet in the tunnel, or of the only one.
enum class SpoiledField { kOuterIpv4, kOuterUdp, kInnerIpv4, kTcpChecksum, kPayload };

struct SpoilPlan {
  SpoiledField field = SpoiledField::kPayload;
  uint32_t frames = 0;  // how many; 0 = none, and the wire is as the one inside
};

class SpoilingWire : public Wire {
 public:
  SpoilingWire(std::unique_ptr<Wire> inner, const SpoilPlan& plan) : inner_(std::move(inner)), plan_(plan) {}

  size_t Transmit(uint16_t lane, Burst& burst) override;

  const WireTraits& traits() const override { return inner_->traits(); }
  absl::Status Open(const WireOptions& options) override { return inner_->Open(options); }
  void Close() override { inner_->Close(); }
  size_t Reclaim(uint16_t lane) override { return inner_->Reclaim(lane); }
  size_t Receive(Burst& burst) override { return inner_->Receive(burst); }
  bool Arm() override { return inner_->Arm(); }
  int fd() const override { return inner_->fd(); }
  LinkState link() const override { return inner_->link(); }
  std::string link_detail() const override { return inner_->link_detail(); }
  DropCounts drops() const override { return inner_->drops(); }
  int service_fd() const override { return inner_->service_fd(); }
  void Service() override { inner_->Service(); }

 private:
  void Spoil(Packet& packet);

  const std::unique_ptr<Wire> inner_;
  const SpoilPlan plan_;
  uint32_t spoiled_ = 0;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_SPOILING_WIRE_H_
