// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_SOFT_NIC_H_
#define SLUICE_TESTS_NIC_SOFT_NIC_H_

// Software verbs devices for tests, opened by genuine libibverbs, and raw packet queue pairs on them.
//
//   SoftNic nic;
//   RawPair pair(nic);                     // ready to send and to receive
//   pair.Steer(EverythingRule());
//   pair.PostReceive(7);
//   pair.Send(frame);
//   ibv_wc done = pair.PollOne();

#include <infiniband/verbs.h>

#include <cerrno>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "sluice/nic/pair_wire.h"
#include "sluice/nic/software_verbs.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// The errno of a call that should return null; 0 when it does not.
template <typename Call>
int Refusal(Call call) {
  errno = 0;
  return call() == nullptr ? errno : 0;
}

// A device, a context and a protection domain. Throws when it cannot be.
class SoftNic {
 public:
  explicit SoftNic(const SoftwareVerbsOptions& options = {},
                   std::unique_ptr<Wire> wire = MakeNullWire({.source = false}));
  ~SoftNic();
  SoftNic(const SoftNic&) = delete;
  SoftNic& operator=(const SoftNic&) = delete;

  SoftwareVerbs& device() { return *device_; }
  ibv_context* context() { return context_; }
  ibv_pd* domain() { return domain_; }
  SoftwareVerbsStats stats() const { return device_->stats(); }

 private:
  std::unique_ptr<SoftwareVerbs> device_;
  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
};

// Two devices on one cable.
struct SoftCable {
  explicit SoftCable(const SoftwareVerbsOptions& a = {}, const SoftwareVerbsOptions& b = {});
  SoftNic left;
  SoftNic right;

 private:
  using Ends = std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>>;
  SoftCable(const SoftwareVerbsOptions& a, const SoftwareVerbsOptions& b, Ends ends);
};

// A rule as ibv_create_flow takes it: the head and specs behind it.
class FlowSpec {
 public:
  explicit FlowSpec(ibv_flow_attr_type type = IBV_FLOW_ATTR_NORMAL, uint16_t priority = 0,
                    uint32_t flags = 0);

  template <typename Spec>
  FlowSpec& With(Spec spec, uint32_t type) {
    spec.type = static_cast<ibv_flow_spec_type>(type);
    spec.size = sizeof(spec);
    const auto* const bytes = reinterpret_cast<const uint8_t*>(&spec);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof(spec));
    ++attr()->num_of_specs;
    return *this;
  }
  FlowSpec& Destination(const char* mac);
  FlowSpec& UdpTo(uint16_t port);
  FlowSpec& Tag(uint32_t tag);
  FlowSpec& Drop();

  ibv_flow_attr* attr() { return reinterpret_cast<ibv_flow_attr*>(bytes_.data()); }

 private:
  std::vector<uint8_t> bytes_;
};

struct RawPairOptions {
  uint32_t requests = 64;
  uint32_t pieces = 4;
  uint32_t inline_bytes = 128;
  int completions = 256;
  bool signal_all = true;
  ibv_comp_channel* channel = nullptr;  // of the completion queue
  bool block_own_multicast = false;
};

// A raw packet queue pair with a completion queue for both directions, and registered memory of 2 KiB a slot.
class RawPair {
 public:
  static constexpr size_t kSlot = 2048;

  explicit RawPair(SoftNic& nic, const RawPairOptions& options = {});
  ~RawPair();
  RawPair(const RawPair&) = delete;
  RawPair& operator=(const RawPair&) = delete;

  ibv_qp* qp() { return qp_; }
  ibv_cq* cq() { return cq_; }
  ibv_mr* region() { return region_; }
  uint8_t* slot(size_t i) { return memory_.data() + i * kSlot; }
  // A piece of registered memory.
  ibv_sge Piece(size_t slot, size_t offset, size_t length);

  int SetState(ibv_qp_state state);
  // Makes a rule that delivers here; it goes with the pair. Throws when it is refused.
  void Steer(FlowSpec spec);

  // Each returns errno. Sends use the slots from `requests` on.
  int PostReceive(size_t slot, uint32_t length = kSlot);
  int Send(const Bytes& frame, unsigned int flags = 0, uint64_t id = 0);
  int Post(ibv_send_wr request);

  // Completions that are there, or come in some turns of the device.
  std::vector<ibv_wc> Poll(size_t most = 64);
  // The frames that arrived, in order, each read from the slot of its request; sends that completed are skipped.
  std::vector<Bytes> Receive();

 private:
  const RawPairOptions options_;
  std::vector<uint8_t> memory_;
  ibv_mr* region_ = nullptr;
  ibv_cq* cq_ = nullptr;
  ibv_qp* qp_ = nullptr;
  std::vector<ibv_flow*> rules_;
  size_t next_send_ = 0;
};

// A queue pair of the extended kind, of 16 sends and 64 receives, brought to where it sends. Null when it is refused.
ibv_qp* ExtendedPair(SoftNic& nic, ibv_cq* cq, ibv_qp_init_attr_ex init);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_SOFT_NIC_H_
