// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_HOST_SWITCH_H_
#define SLUICE_HOST_SWITCH_H_

// A learning Ethernet switch with VLANs: a burst in from one port, bursts out for many.
//
//                        Forward                              Flush
//   burst from port 3 ──▶ admit ─▶ learn ─▶ look up ─▶ egress of port 0 │▓▓  │──▶ your send
//                           │                          egress of port 1 │▓▓▓▓│──▶ your send
//                           └─▶ drop, counted          egress of port 2 │    │
//
//   Switch::Turn turn(*the_switch, WorkerId{0});     // the ports stand still until `turn` ends
//   turn.Forward(PortId{3}, burst);                  // takes all of it
//   turn.Flush([&](PortId to, Burst& packets) { tx(to).Send(packets); });  // what stays is held, in order
//
// It knows no Nic. Use Engine (control/engine.h) to have ports polled and sent to; use the switch alone when
// you have your own loop. It follows IEEE 802.1Q as a VLAN bridge of C-tags without spanning tree: do not
// wire loops.
//
// Learning: a source address is on the port that last sent from it, for `ageing` since it was last seen. A
//   port holds at most its bound of addresses, reserved when it was added: whoever floods source addresses
//   loses older ones of its own port and nobody else's.
// Forwarding: to the port of the destination, never back; to all other ports of the VLAN when the destination
//   is unknown, broadcast or multicast. 01-80-C2-00-00-00 to -0F stay on their link (802.1Q, 8.6.3) and are
//   dropped as kNoDestination. Copies come from the pool given.
// Congestion: an egress burst is also the hold: up to 64 packets a port and worker wait for the next Flush;
//   the one that finds it full is dropped, kTransmitRingFull. Where something has waited for 10 ms, what is borrowed
//   (Packet::borrows) is copied, so that who sent it gets its memory back; what there is no buffer for is dropped, kNoBuffer.
// Conservation: received + copies = sent + held + sum of drops, per switch, exact between turns.
//
// Threads: control calls from any thread, also while turns run. One turn at a time per worker; turns of
//   different workers run side by side and never wait for each other: a look-up takes no lock, and a worker
//   that finds another one learning leaves its own new addresses to the next packet
//   (SwitchStats::learn_busy).
// Cost: no allocation, no system call but the clock, once a burst. Changes wait for the turns that run.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/counters.h"
#include "sluice/base/drop_reason.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/base/saved_state.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/mac_address.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

// kAccess: one VLAN, frames without a tag; tagged frames are refused, but for priority tags (VLAN 0).
// kTrunk: tagged frames of the allowed VLANs; those without a tag belong to the native VLAN, also on send.
enum class VlanMode : uint8_t { kAccess, kTrunk };

struct SwitchPortOptions {
  std::string name = {};  // for people and saved state; unique in its switch; empty = "port N"

  VlanMode vlan_mode = VlanMode::kAccess;
  uint16_t vlan = 1;  // 1-4094; of a trunk: native VLAN, 0 = refuse frames without a tag
  std::vector<uint16_t> allowed_vlans = {};  // of a trunk: besides the native one; empty = all
  bool inserts_vlan = false;  // Capabilities::vlan_insert of the device behind: leave tags to it

  uint32_t max_addresses = 1024;  // learned at once on this port; part of SwitchOptions::max_addresses
  // Source addresses that may come in here (anti-spoof); others are dropped, kSpoofed. Empty = any.
  std::vector<MacAddress> allowed_sources = {};

  friend bool operator==(const SwitchPortOptions&, const SwitchPortOptions&) = default;
};

struct SwitchOptions {
  PacketPool* pool = nullptr;                  // of flood copies; outlives the switch. Required
  uint16_t workers = 1;                        // 1-1024
  uint16_t max_ports = 64;                     // 1-4096
  uint32_t max_addresses = 65536;              // of all ports together, up to 2^24; some 20 bytes each
  absl::Duration ageing = absl::Seconds(300);  // 1 s to 8 h, whole seconds
  const Clock* clock = &Clock::Monotonic();    // outlives the switch
};

// Each field is monotonic but `held` and `addresses`.
struct SwitchPortStats {
  uint64_t received = 0;   // given to Forward
  uint64_t sent = 0;       // taken from the egress by Flush
  uint64_t held = 0;       // in the egress after the last Flush
  uint32_t addresses = 0;  // learned now
  DropCounts drops;        // on the way in, and of what was to go out here
};

struct SwitchStats {
  uint64_t received = 0;
  uint64_t sent = 0;
  uint64_t held = 0;
  DropCounts drops;          // sums over all ports that there ever were
  DropCounts retired_drops;  // of those, what no port that is there now tells of
  uint64_t copies = 0;      // made by flooding, beyond the original; also those for which there was no buffer
  uint64_t learned = 0;     // new addresses
  uint64_t moved = 0;       // addresses that came in on another port than before
  uint64_t evicted = 0;     // by a newer address of the same port
  uint64_t expired = 0;     // too old, found by the sweep
  uint64_t learn_busy = 0;  // not learned, since another worker was learning
  uint64_t learn_full = 0;  // not learned: the port may hold none, or its place in the table is crowded
  uint64_t unknown = 0;     // packets flooded because nobody has the destination
  uint64_t multicast = 0;   // packets flooded as broadcast or multicast
  uint64_t reserved = 0;    // packets to 01-80-C2-00-00-0x
};

struct SLUICE_EXPORT LearnedAddress {
  uint16_t vlan = 0;
  MacAddress address;
  PortId port;
  absl::Duration age;  // since it was last seen, in whole seconds

  static constexpr absl::string_view kStateName = "address";
  static constexpr uint16_t kStateVersion = 1;
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  friend bool operator==(const LearnedAddress&, const LearnedAddress&) = default;
};

struct SLUICE_EXPORT SwitchPort {
  PortId id;
  SwitchPortOptions options = {};

  static constexpr absl::string_view kStateName = "port";
  static constexpr uint16_t kStateVersion = 1;
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  friend bool operator==(const SwitchPort&, const SwitchPort&) = default;
};

// Everything that outlives a restart, as plain values. Load checks types; Switch::Restore checks what they
// mean.
struct SLUICE_EXPORT SwitchState {
  std::vector<SwitchPort> ports;
  std::vector<LearnedAddress> addresses;

  static constexpr absl::string_view kStateName = "switch";
  static constexpr uint16_t kStateVersion = 1;
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  friend bool operator==(const SwitchState&, const SwitchState&) = default;
};

class SLUICE_EXPORT Switch {
 public:
  class Turn;

  // kInvalidArgument names the option out of range.
  static absl::StatusOr<std::unique_ptr<Switch>> Create(const SwitchOptions& options);
  ~Switch();  // no turn may be running; frees what is held
  Switch(const Switch&) = delete;
  Switch& operator=(const Switch&) = delete;

  const SwitchOptions& options() const { return options_; }

  // Takes the lowest free id. kInvalidArgument: a bad VLAN, or a group address as source. kAlreadyExists: the
  // name. kResourceExhausted: no free port, or the bounds of all ports exceed SwitchOptions::max_addresses.
  absl::StatusOr<PortId> AddPort(const SwitchPortOptions& options);
  // As AddPort; kNotFound: no such port. Forgets what was learned on the port when its VLANs change.
  absl::Status UpdatePort(PortId port, const SwitchPortOptions& options);
  // Returns when no turn can reach the port any more. What its egress held is dropped, kPortRemoved.
  absl::Status RemovePort(PortId port);

  std::vector<SwitchPort> ports() const;
  absl::StatusOr<SwitchPortStats> port_stats(PortId port) const;
  SwitchStats stats() const;
  std::vector<LearnedAddress> addresses() const;  // sorted by VLAN and address
  size_t ForgetAddresses(PortId port);            // returns how many

  SwitchState state() const;
  // Adds the ports, with their ids, and the addresses. Only while there are no ports (kFailedPrecondition);
  // all or nothing; refuses what AddPort refuses and addresses on ports that are not there.
  absl::Status Restore(const SwitchState& state);

  // Returns when every turn that was running at the call has ended: whatever a turn could have seen before,
  // none sees now. For owners of things that turns use. Never call it within a turn.
  void WaitForTurns() const;

 private:
  struct Lane;
  struct Port;
  struct Ports;
  struct Seat;
  struct Control;

  explicit Switch(const SwitchOptions& options);

  static absl::Status NoSuchPort(PortId id);
  void PutPort(PortId id, const SwitchPortOptions& options);
  size_t Forget(PortId id);
  void Publish();
  SwitchPortStats StatsOf(const Port& port) const;

  const SwitchOptions options_;
  std::atomic<const Ports*> ports_{nullptr};  // what turns see
  std::unique_ptr<Seat[]> seats_;             // by worker
  std::unique_ptr<Control> control_;
};

// One worker's turn: the ports are as they were at its start until it ends. Keep turns short (a poll of a few
// bursts), and end one before sleeping, for changes wait for it.
class SLUICE_EXPORT Switch::Turn {
 public:
  Turn(Switch& owner, WorkerId worker);
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // Takes all packets of `burst` as received on `ingress`. A port that is not there drops them, kPortRemoved.
  void Forward(PortId ingress, Burst& burst);

  // Calls send(PortId, Burst&) for each port with packets waiting; what `send` leaves in the burst stays
  // held, in order.
  template <typename Send>
  void Flush(Send&& send) {
    PortId port;
    for (Burst* waiting = NextWaiting(port, 0); waiting != nullptr;
         waiting = NextWaiting(port, port.value() + size_t{1})) {
      const size_t before = waiting->size();
      send(port, *waiting);
      NoteFlushed(port, before);
    }
  }

  // True while packets wait that no Flush got rid of.
  bool holding() const;

 private:
  struct Run;

  static const Ports& Begin(Seat& seat, const std::atomic<const Ports*>& ports);

  Burst* NextWaiting(PortId& port, size_t from);
  void NoteFlushed(PortId port, size_t before);

  void ReadClock();
  size_t Admit(const Port& port, const Burst& burst, Run* runs);
  void Learn(PortId ingress, const Run* runs, size_t count);
  void LearnNew(PortId ingress, const Run* runs, const uint16_t* which, size_t count);
  void Deliver(const Port& ingress, const Run* runs, size_t count);
  void Flood(const Port& ingress, const Run& run);
  void Queue(const Port& port, const Run& run);
  void QueueWithTag(const Port& port, const Run& run, Packet* packet);
  void QueueCopies(const Port& port, const Run& run);
  void Append(const Port& port, Packet* const* packets, size_t count);
  void Drop(const Port& port, const Run& run, DropReason reason);
  void Drop(const Port& port, Packet* const* packets, size_t count, DropReason reason);
  void DropStray(Burst& burst);

  Switch& switch_;
  Seat& seat_;
  const Ports& ports_;
  uint16_t now_ = 0;  // seconds, wrapping; read when the first burst comes
  bool clock_read_ = false;
};

}  // namespace sluice

#endif  // SLUICE_HOST_SWITCH_H_
