// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_GUEST_H_
#define SLUICE_TESTS_SUPPORT_GUEST_H_

// A virtual machine with a Linux of its own, for system tests that need a guest, or a kernel other than this one's.
// tests/vm/build_guest.sh makes it, and says what is in it.
//
//   Guest guest({.devices = "-netdev tap,id=n0,ifname=tap0,script=no,downscript=no "
//                           "-device virtio-net-pci,netdev=n0,romfile=",
//                .where = &host});
//   guest.MustRun("ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up");
//   CHECK(guest.Run("ping -c 1 10.0.0.1").ok());
//
// Takes some three seconds to start, and is gone with the object, or with the test, however that ends. One thread at a
// time.

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "tests/support/netns.h"
#include "tests/support/process.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

class Qmp;

// How many kinds of a machine, or of a peer's process, each of which takes seconds to start, a test goes through: all where tests
// are fast; in debug builds the first, in which sanitizers find what there is.
#ifdef NDEBUG
inline constexpr size_t kMostKinds = 100;
#else
inline constexpr size_t kMostKinds = 2;
#endif
template <typename Kinds>
Kinds FirstKinds(Kinds kinds, size_t most = kMostKinds) {
  kinds.resize(std::min(kinds.size(), most));
  return kinds;
}

struct GuestOptions {
  std::string devices = {};          // words of QEMU's command line that give the guest its network
  const Namespace* where = nullptr;  // QEMU's network namespace; null = that of the calling thread
  bool arrives = false;              // does not boot: another guest will move here (guest_move.h)
  bool libvirt = false;  // starts it, not we: devices are SOCKET MODE MAC of tests/vm/run_libvirt_guest.sh
};

class Guest {
 public:
  // Returns when the guest is ready: drivers loaded, interfaces down. One that arrives answers when it has. Skips the test where
  // there is no guest or no QEMU; throws with what both said when it does not start.
  explicit Guest(const GuestOptions& options);
  ~Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  // Runs a shell command, of one line, in the guest. What it leaves running in the background must write elsewhere:
  // "stream sink 5000 >/dev/null 2>&1 &". Throws when no answer comes in time: the guest's state is then unknown.
  CommandResult Run(const std::string& command, absl::Duration timeout = absl::Seconds(20));
  // The same, but throws with the output when it fails.
  std::string MustRun(const std::string& command);

  // Ends QEMU without a word to anybody. The guest is of no more use.
  void Kill() { qemu_.Signal(SIGKILL); }

  // Orders for QEMU; libvirt keeps them to itself.
  Qmp& monitor();
  // Waits for a guest that was told to boot again.
  void AwaitBoot();
  // What QEMU wrote to its standard error.
  std::string QemuOutput() const { return qemu_.Output(); }
  // Path of a file that goes with the guest.
  std::string file(const std::string& name) const { return folder_.file(name); }

  // Path of the program `stream` (tests/vm/stream.cc), which the guest has too.
  static std::string StreamProgram();

 private:
  void Connect();
  void Say(const std::string& line);
  std::string Hear(size_t bytes, absl::Time deadline);  // at most; at least one
  [[noreturn]] void GiveUp(const std::string& why) const;

  TempFolder folder_;
  const int listener_;
  Process qemu_;
  int line_ = -1;
  std::unique_ptr<Qmp> monitor_;  // once it was asked for
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_GUEST_H_
