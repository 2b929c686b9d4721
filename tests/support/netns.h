// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_NETNS_H_
#define SLUICE_TESTS_SUPPORT_NETNS_H_

// Network namespaces and veth pairs for system tests: real kernel stacks that nobody else sees.
//
//   Namespace guest = Namespace::Make("guest"), host = Namespace::Make("host");
//   VethPair pair(guest, "eth0", host, "port0", {.address_a = "10.0.0.1/24"});
//   const NamespaceScope inside(host);            // sockets opened by this thread are now the host's
//   ... OpenXdpNic("port0") ...
//   CHECK(guest.Run("ping -c 1 10.0.0.2").ok());
//
// A namespace here has no name under /run/netns; it is held by a descriptor of this process, so that it is
// gone when the test ends, even by SIGKILL. Hand path() to `ip link ... netns PATH`. It lives as long as
// anything holds it: a socket that was opened in it, a process that runs in it.
//
// Each has `lo` up and IPv6 off, so that no frame moves but the test's own. Note that /sys still shows the
// namespace in which it was mounted. Failures throw std::runtime_error, which fails the test with the reason.

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "tests/support/process.h"

namespace sluice::testing {

class Namespace {
 public:
  static Namespace Make(const std::string& prefix);

  ~Namespace() { Remove(); }
  Namespace(Namespace&& other) noexcept;
  Namespace& operator=(Namespace&& other) noexcept;

  const std::string& name() const { return name_; }  // PREFIX-PID-NUMBER, unique; for messages
  int fd() const { return fd_; }
  std::string path() const;  // names it to `ip` and nsenter(1) while this process lives

  // Runs a shell command in it.
  CommandResult Run(const std::string& command, absl::Duration timeout = absl::Seconds(20)) const {
    return RunCommand(command, this, timeout);
  }
  // The same, but throws with the output when it fails.
  std::string MustRun(const std::string& command) const;
  // Starts one that goes on in the background.
  Process Start(const std::string& command) const { return Process::Command(command, this); }

  // Lets go of it before its time. The kernel takes it apart a moment later, and with it its veth devices and
  // their peers in other namespaces.
  void Remove();

 private:
  Namespace() = default;

  std::string name_;
  int fd_ = -1;
};

// The calling thread, and the threads it starts, are in the namespace until the end of the scope.
class NamespaceScope {
 public:
  explicit NamespaceScope(const Namespace& where);
  ~NamespaceScope();
  NamespaceScope(const NamespaceScope&) = delete;
  NamespaceScope& operator=(const NamespaceScope&) = delete;

 private:
  int before_ = -1;
};

struct VethOptions {
  int mtu = 1500;
  int queues = 1;              // receive and transmit queues of each end
  std::string address_a = {};  // "10.0.0.1/24"; empty = none
  std::string address_b = {};
  std::string mac_a = {};  // empty = the kernel's choice
  std::string mac_b = {};
  bool offloads = false;  // let the ends send unfinished checksums, TSO and VLAN tags out of band
};

// Two interfaces, each the other's cable, up at once. Both ends go with the pair, or with either namespace.
// The namespaces outlive the pair, and stay where they are.
class VethPair {
 public:
  VethPair(const Namespace& a, const std::string& name_a, const Namespace& b, const std::string& name_b,
           const VethOptions& options = {});
  ~VethPair() { Remove(); }
  VethPair(const VethPair&) = delete;
  VethPair& operator=(const VethPair&) = delete;

  const std::string& name_a() const { return name_a_; }
  const std::string& name_b() const { return name_b_; }
  void Remove();

 private:
  const Namespace* a_;
  std::string name_a_;
  std::string name_b_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_NETNS_H_
