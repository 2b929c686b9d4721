// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_KERNEL_BRIDGE_H_
#define SLUICE_TESTS_NIC_KERNEL_BRIDGE_H_

// Two kernels that talk through the library, and judge what it passes on:
//
//   left kernel ── tap0 ── ModelNic ═ stage ═ ModelNic ─┬─ tap0 ─────────────── right kernel
//     10.0.0.1                (a thread)                ├─ AF_PACKET, veth eth0     10.0.0.2
//                                                       └─ another Nic in its place, veth eth0
//
// Frames into a veth go without any mark, so that the kernel behind it checks every checksum.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/tap_wire.h"
#include "tests/support/netns.h"

namespace sluice::testing {

// Takes packets from `in` and appends to `out`; called again until `in` is empty, and when nothing came.
using Stage = std::function<void(Burst& in, Burst& out)>;

struct BridgeOptions {
  TapWireOptions left_tap = {};  // interface and namespace are put in
  bool right_is_tap = false;
  TapWireOptions right_tap = {};
  ModelHardware hardware = {};  // of both NICs
  // Instead of the addresses above, where they are to be elsewhere.
  std::string setup_left = "ip addr add 10.0.0.1/24 dev tap0";
  std::string setup_right = {};  // empty: 10.0.0.2/24 on the right interface
  Stage to_right = {}, to_left = {};
  // Put around the wire on the right.
  std::function<std::unique_ptr<Wire>(std::unique_ptr<Wire>)> around_right = {};
  // In place of the NIC on the right: on port0, called inside the namespace that has it.
  std::function<std::unique_ptr<Nic>()> open_right = {};
};

class KernelBridge {
 public:
  // Longer than this is many frames in one packet. Kernels here ask for 32, and get fewer while their window is small,
  // as it stays when whatever receives is slow.
  static constexpr uint32_t kUncut = 4 * 1514;

  explicit KernelBridge(const BridgeOptions& options = {});
  ~KernelBridge();

  // Sum over both kernels; of all that say "a frame was wrong".
  uint64_t Counter(const std::string& names) const;
  uint64_t WrongFrames() const;
  std::string Drops() const;  // of both NICs, in words
  // Bytes a frame, as the right kernel's interface counts them.
  uint64_t MeanFrameAtRight() const;

  // Packets that came from the left kernel and were still to be cut.
  uint64_t uncut() const { return uncut_; }
  uint32_t longest_uncut() const { return longest_uncut_; }
  Nic& left_nic() { return *left_nic_; }
  Nic& right_nic() { return *right_nic_; }

  const Namespace left, middle, right;
  const std::string right_interface;

 private:
  std::unique_ptr<Nic> ModelOn(std::unique_ptr<Wire> wire, const ModelHardware& hardware) const;
  std::unique_ptr<Nic> Started(std::unique_ptr<Nic> nic) const;
  std::unique_ptr<Nic> RightNic(const BridgeOptions& options) const;
  std::unique_ptr<Wire> LeftWire(TapWireOptions options) const;
  std::unique_ptr<Wire> RightWire(const BridgeOptions& options) const;
  void CountUncut(const Burst& burst);
  void Move(Nic& from, Nic& to, const Stage& stage);
  void Pump(const Stage& to_right, const Stage& to_left);

  std::unique_ptr<VethPair> veth_;
  std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<Nic> left_nic_, right_nic_;
  std::atomic<uint64_t> uncut_{0};
  std::atomic<uint32_t> longest_uncut_{0};
  std::atomic<bool> stop_{false};
  std::thread pump_;
};

// Spoils one bit of the innermost L4 checksum of each hundredth long frame that goes out.
std::unique_ptr<Wire> Marring(std::unique_ptr<Wire> wire);

// What one kernel sent, and what the other's program received: how much, and its digest.
struct Transfer {
  std::string sent, received;
};

// A TCP stream of `bytes` random bytes from left to right.
Transfer SendStream(const KernelBridge& bridge, size_t bytes, const std::string& to = "10.0.0.2");
// `sends` calls with `datagrams` of 1,400 bytes each, which the sender leaves to be cut (UDP_SEGMENT of udp(7)).
Transfer SendDatagrams(const KernelBridge& bridge, int sends, int datagrams);

// All of it arrived, no kernel saw a wrong frame, and nothing was dropped on the way.
void CheckWhole(const KernelBridge& bridge, const Transfer& transfer);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_KERNEL_BRIDGE_H_
