// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_FORWARDING_WIRE_H_
#define SLUICE_TESTS_NIC_FORWARDING_WIRE_H_

// A wire that is as the one inside, for tests that change or watch one thing of it.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sluice/nic/wire.h"

namespace sluice::testing {

class ForwardingWire : public Wire {
 public:
  explicit ForwardingWire(std::unique_ptr<Wire> inner) : inner_(std::move(inner)) {}

  const WireTraits& traits() const override { return inner_->traits(); }
  std::vector<ModeInForce> modes() const override { return inner_->modes(); }
  absl::Status Open(const WireOptions& options) override { return inner_->Open(options); }
  void Close() override { inner_->Close(); }
  size_t Transmit(uint16_t lane, Burst& burst) override { return inner_->Transmit(lane, burst); }
  size_t Reclaim(uint16_t lane) override { return inner_->Reclaim(lane); }
  size_t Receive(Burst& burst) override { return inner_->Receive(burst); }
  bool Arm() override { return inner_->Arm(); }
  int fd() const override { return inner_->fd(); }
  LinkState link() const override { return inner_->link(); }
  std::string link_detail() const override { return inner_->link_detail(); }
  bool gone() const override { return inner_->gone(); }
  DropCounts drops() const override { return inner_->drops(); }
  int service_fd() const override { return inner_->service_fd(); }
  void Service() override { inner_->Service(); }

 private:
  const std::unique_ptr<Wire> inner_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_FORWARDING_WIRE_H_
