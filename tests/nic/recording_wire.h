// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_RECORDING_WIRE_H_
#define SLUICE_TESTS_NIC_RECORDING_WIRE_H_

// The end of a wire that notes what comes out of it, before the Nic behind it sees it.

#include <memory>
#include <utility>
#include <vector>

#include "sluice/nic/wire.h"
#include "tests/support/frames.h"

namespace sluice::testing {

struct RecordedFrame {
  Bytes bytes;
  OffloadRequest request;
};
using Recording = std::vector<RecordedFrame>;

class RecordingWire final : public Wire {
 public:
  RecordingWire(std::unique_ptr<Wire> inner, Recording& recording)
      : inner_(std::move(inner)), recording_(recording) {}

  size_t Receive(Burst& burst) override {
    const size_t before = burst.size();
    const size_t received = inner_->Receive(burst);
    for (size_t i = before; i < burst.size(); ++i)
      recording_.push_back({BytesOf(burst[i]), burst[i].offload});
    return received;
  }

  const WireTraits& traits() const override { return inner_->traits(); }
  absl::Status Open(const WireOptions& options) override { return inner_->Open(options); }
  void Close() override { inner_->Close(); }
  size_t Transmit(uint16_t lane, Burst& burst) override { return inner_->Transmit(lane, burst); }
  size_t Reclaim(uint16_t lane) override { return inner_->Reclaim(lane); }
  bool Arm() override { return inner_->Arm(); }
  int fd() const override { return inner_->fd(); }
  LinkState link() const override { return inner_->link(); }
  DropCounts drops() const override { return inner_->drops(); }
  int service_fd() const override { return inner_->service_fd(); }
  void Service() override { inner_->Service(); }

 private:
  const std::unique_ptr<Wire> inner_;
  Recording& recording_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_RECORDING_WIRE_H_
