// SPDX-License-Identifier: Apache-2.0
#include "tests/support/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace sluice::testing {
namespace {

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::runtime_error(absl::StrCat(what, ": ", std::strerror(errno)));
}

int OpenOwn() {
  const int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) ThrowErrno("open the thread's network namespace");
  return fd;
}

// /proc/sys/net is that of the namespace of the thread which opens it.
void SilenceIpv6() {
  for (const char* scope : {"all", "default"}) {
    std::ofstream(absl::StrCat("/proc/sys/net/ipv6/conf/", scope, "/disable_ipv6")) << 1;
  }
}

std::string MacWords(const std::string& mac) { return mac.empty() ? "" : absl::StrCat(" address ", mac); }

// What makes one end ready, in its namespace.
void Finish(const Namespace& where, const std::string& name, const std::string& address,
            const VethOptions& options) {
  if (!options.offloads) {
    where.MustRun(absl::StrCat("ethtool -K ", name, " tx off tso off gso off gro off txvlan off rxvlan off"));
  }
  if (!address.empty()) where.MustRun(absl::StrCat("ip addr add ", address, " dev ", name));
  where.MustRun(absl::StrCat("ip link set ", name, " up"));
}

}  // namespace

Namespace Namespace::Make(const std::string& prefix) {
  static std::atomic<int> number{0};
  Namespace made;
  made.name_ = absl::StrCat(prefix, "-", getpid(), "-", ++number);
  const int before = OpenOwn();
  if (unshare(CLONE_NEWNET) != 0) ThrowErrno("unshare(CLONE_NEWNET)");
  made.fd_ = OpenOwn();
  SilenceIpv6();
  if (setns(before, CLONE_NEWNET) != 0) ThrowErrno("setns back");
  close(before);
  made.MustRun("ip link set lo up");
  return made;
}

Namespace::Namespace(Namespace&& other) noexcept { *this = std::move(other); }

Namespace& Namespace::operator=(Namespace&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(fd_, other.fd_);
  return *this;
}

std::string Namespace::path() const { return absl::StrCat("/proc/", getpid(), "/fd/", fd_); }

std::string Namespace::MustRun(const std::string& command) const {
  CommandResult result = Run(command);
  if (!result.ok()) {
    throw std::runtime_error(absl::StrCat(name_, ": ", command, ": ", result.status, ": ", result.output));
  }
  return std::move(result.output);
}

void Namespace::Remove() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

NamespaceScope::NamespaceScope(const Namespace& where) : before_(OpenOwn()) {
  if (setns(where.fd(), CLONE_NEWNET) == 0) return;
  close(before_);
  ThrowErrno("setns");
}

NamespaceScope::~NamespaceScope() {
  setns(before_, CLONE_NEWNET);
  close(before_);
}

VethPair::VethPair(const Namespace& a, const std::string& name_a, const Namespace& b,
                   const std::string& name_b, const VethOptions& options)
    : a_(&a), name_a_(name_a), name_b_(name_b) {
  const std::string shape =
      absl::StrCat(" mtu ", options.mtu, " numrxqueues ", options.queues, " numtxqueues ", options.queues);
  a.MustRun(absl::StrCat("ip link add ", name_a, MacWords(options.mac_a), shape, " type veth peer name ",
                         name_b, MacWords(options.mac_b), shape, " netns ", b.path()));
  Finish(a, name_a, options.address_a, options);
  Finish(b, name_b, options.address_b, options);
}

void VethPair::Remove() {
  if (a_ == nullptr || a_->fd() < 0) return;
  a_->Run(absl::StrCat("ip link del ", name_a_));  // fails where the other namespace took the pair with it
  a_ = nullptr;
}

}  // namespace sluice::testing
