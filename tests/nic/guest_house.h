// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_GUEST_HOUSE_H_
#define SLUICE_TESTS_NIC_GUEST_HOUSE_H_

// Linux guests under QEMU on vhost-user ports, and a kernel outside that they talk with.
//
//   guest's kernel ═ virtio ═ VhostNic ─ NicPatch ─ ModelNic ═ tap0 ═ outside's kernel
//     10.0.0.2                  a Door                                  10.0.0.1

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/nic_patch.h"
#include "tests/support/guest.h"
#include "tests/support/netns.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

inline constexpr absl::Duration kPatience = absl::Minutes(1);

template <typename T>
T Take(absl::StatusOr<T> made) {
  if (!made.ok()) throw std::runtime_error(made.status().ToString());
  return *std::move(made);
}

// What a guest has, as QEMU is told.
struct GuestNic {
  std::string properties = {};  // of its virtio-net-pci: "packed=on,mrg_rxbuf=off"
  uint16_t pairs = 1;
  bool listens = false;      // QEMU does, and the port connects
  std::string machine = {};  // more words of QEMU's command line: "-machine max-ram-below-4g=128M"
  uint16_t queues = 0;       // of the port; 0: as many as pairs
  bool libvirt = false;      // starts the guest, as README.md says; with two pairs
};

// Waits for what others bring about, with patience; then says whether it came.
bool Comes(const std::function<bool()>& condition, absl::Duration patience = kPatience);

// Words that give a guest its card, behind the socket at `path`, for QEMU or for libvirt. The address ends in `last`.
std::string DevicesOf(const GuestNic& nic, const std::string& path, int last);

std::unique_ptr<PacketPool> NewPool();

// The guest whose address ends in `last`, with its interface up and a program that checks streams.
std::unique_ptr<Guest> Boot(const GuestNic& nic, const std::string& path, int last);
void SetUp(Guest& guest, int last);  // of one that has booted

// A checked stream (tests/vm/stream.cc) to the machine whose address ends in `last`, and its verdict when all is well.
inline constexpr uint64_t kStreamBytes = 4'000'000;
std::string SourceTo(int last);
std::string Ok();

// A port on a socket of its own, started.
class Port {
 public:
  explicit Port(PacketPool& pool, VhostNicOptions options = {}, uint16_t queues = 1);
  VhostNic& nic() { return *nic_; }
  std::string path() const { return folder_.file("vhost"); }

 private:
  const TempFolder folder_;
  std::unique_ptr<VhostNic> nic_;
};

// A kernel here with interfaces through which it reaches guests: tap0, or a bridge, br0, of tap0, tap1 ...
class Outside {
 public:
  explicit Outside(PacketPool& pool, int taps = 1);
  ~Outside();

  // Anew, for one waits for what is still to come on its connection, also where nobody is left to send it.
  void StartSink();
  Nic& nic(size_t tap = 0) { return *nics_[tap]; }
  CommandResult Run(const std::string& command) const { return where_.Run(command, kPatience); }
  Process Start(const std::string& command) const { return where_.Start(command); }

 private:
  std::unique_ptr<Nic> OpenTap(PacketPool& pool, const std::string& name) const;

  const Namespace where_;
  std::vector<std::unique_ptr<Nic>> nics_;
  std::optional<Process> sink_;
};

// A port for guests, and what connects it to the outside.
class Door {
 public:
  Door(PacketPool& pool, Nic& outside, const GuestNic& kind, VhostNicOptions options = {});
  ~Door();

  std::string path() const { return port_.path(); }
  NicPatch& patch() { return *patch_; }
  VhostReport Report();

 private:
  Port port_;
  std::optional<NicPatch> patch_;
};

// A guest and the outside, and the door between them.
class House {
 public:
  explicit House(const GuestNic& kind, const VhostNicOptions& options = {});  // with its guest
  struct Empty {};
  House(Empty, const GuestNic& kind, const VhostNicOptions& options = {});
  ~House();

  void BootGuest();
  Guest& guest() { return *guest_; }
  Outside& outside() { return *outside_; }
  NicPatch& patch() { return door_->patch(); }
  std::string path() const { return door_->path(); }  // of the door's socket
  VhostReport Report() { return door_->Report(); }

  void CheckPings();
  // Pings and streams, both ways; every byte is checked.
  void CheckTraffic();

 private:
  const GuestNic kind_;
  std::unique_ptr<PacketPool> pool_;
  std::optional<Outside> outside_;
  std::optional<Door> door_;
  std::unique_ptr<Guest> guest_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_GUEST_HOUSE_H_
