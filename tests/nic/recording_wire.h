// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_RECORDING_WIRE_H_
#define SLUICE_TESTS_NIC_RECORDING_WIRE_H_

// The end of a wire that notes what comes out of it, before the Nic behind it sees it.

#include <memory>
#include <utility>
#include <vector>

#include "tests/nic/forwarding_wire.h"
#include "tests/support/frames.h"

namespace sluice::testing {

struct RecordedFrame {
  Bytes bytes;
  OffloadRequest request;
};
using Recording = std::vector<RecordedFrame>;

class RecordingWire final : public ForwardingWire {
 public:
  RecordingWire(std::unique_ptr<Wire> inner, Recording& recording)
      : ForwardingWire(std::move(inner)), recording_(recording) {}

  size_t Receive(Burst& burst) override {
    const size_t before = burst.size();
    const size_t received = ForwardingWire::Receive(burst);
    for (size_t i = before; i < burst.size(); ++i)
      recording_.push_back({BytesOf(burst[i]), burst[i].offload});
    return received;
  }

 private:
  Recording& recording_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_RECORDING_WIRE_H_
