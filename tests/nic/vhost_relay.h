// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VHOST_RELAY_H_
#define SLUICE_TESTS_NIC_VHOST_RELAY_H_

// Stands between an emulator and a vhost-user port, and keeps from the port that the machine is about to move: the log of what
// was written is taken from the emulator, and never heard of again. All else is passed on, both ways.
//
//   QEMU ═ path() ═ VhostRelay ═ port's path ═ VhostNic
//
// So works a device that writes no log: a test of moving guests is to tell it from one that does.

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "base/unique_fd_internal.h"
#include "nic/vhost/socket_internal.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

class VhostRelay {
 public:
  // Serves one front-end after the other, by a thread of its own.
  explicit VhostRelay(std::string port_path);
  ~VhostRelay();
  VhostRelay(const VhostRelay&) = delete;
  VhostRelay& operator=(const VhostRelay&) = delete;

  std::string path() const { return folder_.file("relay"); }
  // Logs that were kept back.
  uint64_t kept() const { return kept_; }

 private:
  void Run();
  void Serve(VhostSocket& front, VhostSocket& port);
  bool Pass(VhostSocket& from, VhostSocket& to, bool censored);
  bool KeepsBack(VhostSocket& front);
  bool Wait(int a, int b = -1);

  const TempFolder folder_;
  const std::string port_path_;
  const UniqueFd listener_;
  const UniqueFd stop_;
  std::atomic<uint64_t> kept_{0};
  std::thread thread_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VHOST_RELAY_H_
