// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_GUEST_TUNNEL_H_
#define SLUICE_TESTS_NIC_GUEST_TUNNEL_H_

// Carries frames between a kernel here and the tunnel or VLAN device of a guest's kernel, as a host with a fast
// card does: joined where they come in, put into the tunnel while they are big, cut to the underlay's MTU where they
// go out.
//
//   sender's kernel ─ TAP ─ ModelNic ─▶ join ─▶ headers on ─▶ ModelNic: cut, checksums, tag ─ packet socket ─ guest
//                                    ◀────── headers off ◀───
//
// Does so on a thread of its own from construction to destruction.

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "sluice/nic/model_nic.h"
#include "sluice/packet/coalesce.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/spoiling_wire.h"
#include "tests/support/frames.h"
#include "tests/support/netns.h"

namespace sluice::testing {

struct GuestTunnelOptions {
  // From Ethernet to tunnel, in front of each frame for the guest; lengths are put in. Empty = none.
  Bytes headers = {};
  uint16_t vlan_tci = 0;  // tag of each frame for the guest, which is left to the NIC; 0 = none
  std::string address;    // of the sender's interface: "10.1.0.1/24"
  SpoilPlan spoil = {};   // what befalls frames on the way to the guest
};

class GuestTunnel {
 public:
  // Makes the interface tap0 in `sender`, and attaches to `guest_tap` in `host`.
  GuestTunnel(const Namespace& sender, const Namespace& host, const std::string& guest_tap,
              const GuestTunnelOptions& options);
  ~GuestTunnel();
  GuestTunnel(const GuestTunnel&) = delete;
  GuestTunnel& operator=(const GuestTunnel&) = delete;

  CoalesceStats coalesced() const { return coalescer_->stats(); }
  DropCounts drops() const;

 private:
  std::unique_ptr<Nic> Open(const std::string& name, absl::StatusOr<std::unique_ptr<Wire>> wire) const;
  void Run();
  size_t ToGuest();
  size_t FromGuest();
  void Wrap(Packet& packet) const;
  void PutHeaders(Packet& packet) const;
  bool Unwrap(Packet& packet) const;
  void Sleep();
  void SendAll(Nic& nic, Burst& burst);

  const GuestTunnelOptions options_;
  Layers layers_;  // of options_.headers
  const std::unique_ptr<PacketPool> pool_;
  const std::unique_ptr<Coalescer> coalescer_;
  const std::unique_ptr<Nic> sender_, guest_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_GUEST_TUNNEL_H_
