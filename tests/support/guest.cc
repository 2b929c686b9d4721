// SPDX-License-Identifier: Apache-2.0
#include "tests/support/guest.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "tests/support/qmp.h"
#include "tests/support/skip.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kStart = absl::Seconds(30);  // of QEMU, and libvirt before it
constexpr absl::Duration kBoot = absl::Seconds(60);   // emulated, beside whatever else the machine does
constexpr const char* kScripts = SLUICE_SOURCE_DIR "/tests/vm/";

void SkipUnlessBuilt(const GuestOptions& options) {
  const CommandResult qemu = RunCommand("command -v qemu-system-x86_64");
  if (!qemu.ok()) SkipTest("no qemu-system-x86_64 (package qemu-system-x86)");
  if (options.libvirt && !RunCommand("command -v libvirtd && command -v virsh").ok())
    SkipTest("no libvirt (packages libvirt-daemon, libvirt-daemon-driver-qemu, libvirt-clients)");
  if (options.libvirt && !RunCommand("unshare --user --map-user=65534 --pid --fork true").ok())
    SkipTest("no user namespaces here (sysctl user.max_user_namespaces), in which libvirt runs");
  const CommandResult built =
      RunCommand(absl::StrCat("sh ", kScripts, "build_guest.sh --offline"), nullptr, absl::Minutes(2));
  if (!built.ok()) SkipTest(std::string(absl::StripSuffix(built.output, "\n")));
}

TempFolder FolderIfBuilt(const GuestOptions& options) {
  SkipUnlessBuilt(options);
  return {};
}

int Listen(const std::string& path) {
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      listen(listener, 1) == 0) {
    return listener;
  }
  throw std::runtime_error("no listening socket at " + path);
}

bool Readable(int fd, absl::Time deadline) {
  pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
  const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
  return poll(&waited, 1, static_cast<int>(absl::ToInt64Milliseconds(left))) == 1;
}

std::string ContentOf(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

Process StartQemu(const GuestOptions& options, const TempFolder& folder) {
  const std::string ours = absl::StrCat("-qmp unix:", folder.file("monitor"), ",server=on,wait=off ",
                                        options.arrives ? "-incoming defer " : "");
  return Process::Command(
      absl::StrCat("exec sh ", kScripts, options.libvirt ? "run_libvirt_guest.sh " : "run_guest.sh ",
                   folder.file("line"), " ", folder.file("console"), " ", options.libvirt ? "" : ours,
                   options.devices),
      options.where);
}

}  // namespace

Guest::Guest(const GuestOptions& options)
    : folder_(FolderIfBuilt(options)),
      listener_(Listen(folder_.file("line"))),
      qemu_(StartQemu(options, folder_)) {
  Connect();
  if (!options.arrives) AwaitBoot();
}

Guest::~Guest() {
  if (line_ >= 0) close(line_);
}

void Guest::Connect() {
  if (Readable(listener_, absl::Now() + kStart)) line_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  close(listener_);
  if (line_ < 0) GiveUp("QEMU did not start");
}

void Guest::AwaitBoot() { Run("true", kBoot); }

Qmp& Guest::monitor() {
  if (monitor_ == nullptr) monitor_ = std::make_unique<Qmp>(folder_.file("monitor"));
  return *monitor_;
}

CommandResult Guest::Run(const std::string& command, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  Say(command + "\n");
  std::string head;
  while (head.empty() || head.back() != '\n') head += Hear(1, deadline);
  int status = 0;
  size_t length = 0;
  if (!(std::istringstream(head) >> status >> length)) GiveUp("the guest answered " + head);
  std::string output;
  while (output.size() < length) output += Hear(length - output.size(), deadline);
  return {status, output};
}

std::string Guest::MustRun(const std::string& command) {
  CommandResult result = Run(command);
  if (!result.ok()) {
    throw std::runtime_error(absl::StrCat("guest: ", command, ": ", result.status, ": ", result.output));
  }
  return std::move(result.output);
}

std::string Guest::StreamProgram() { return SLUICE_SOURCE_DIR "/build/vm/guest/stream"; }

void Guest::Say(const std::string& line) {
  if (send(line_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    GiveUp("the guest hears nothing");
  }
}

std::string Guest::Hear(size_t bytes, absl::Time deadline) {
  if (!Readable(line_, deadline)) GiveUp("the guest does not answer");
  std::string heard(bytes, '\0');
  const ssize_t got = recv(line_, heard.data(), bytes, 0);
  if (got <= 0) GiveUp("the guest is gone");
  heard.resize(static_cast<size_t>(got));
  return heard;
}

void Guest::GiveUp(const std::string& why) const {
  throw std::runtime_error(
      absl::StrCat(why, "; QEMU: ", qemu_.Output(), "; console: ", ContentOf(folder_.file("console"))));
}

}  // namespace sluice::testing
