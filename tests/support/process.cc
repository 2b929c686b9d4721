// SPDX-License-Identifier: Apache-2.0
#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "absl/time/clock.h"
#include "tests/support/netns.h"

namespace sluice::testing {
namespace {

constexpr int kCannotStart = 127;
constexpr absl::Duration kPartingTime = absl::Seconds(2);

// A shell may be gone before those that it ran, which clean up for some time yet.
void AwaitGroup(pid_t group) {
  const absl::Time deadline = absl::Now() + kPartingTime;
  while (kill(-group, 0) == 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
}

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

// In the child: only calls that are safe after fork, until the body runs.
[[noreturn]] void RunChild(const std::function<int()>& body, int output, int where) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  if (where >= 0 && setns(where, CLONE_NEWNET) != 0) _exit(kCannotStart);
  _exit(body());
}

bool WaitReadable(int fd, absl::Duration timeout) {
  pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&waited, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) == 1;
}

}  // namespace

Process Process::Start(const std::function<int()>& body, const Namespace* where) {
  Process process;
  process.output_ = memfd_create("test-output", MFD_CLOEXEC);
  if (process.output_ < 0) ThrowErrno("memfd_create");
  fcntl(process.output_, F_SETFL, O_APPEND);
  std::fflush(nullptr);  // what stands in buffers is this process's to write
  process.pid_ = fork();
  if (process.pid_ < 0) ThrowErrno("fork");
  if (process.pid_ == 0) RunChild(body, process.output_, where == nullptr ? -1 : where->fd());
  setpgid(process.pid_, process.pid_);  // also here: a Signal right now must find the group
  process.pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, process.pid_, 0));
  if (process.pidfd_ < 0) ThrowErrno("pidfd_open");
  return process;
}

Process Process::Command(const std::string& command, const Namespace* where) {
  const char* text = command.c_str();
  return Start(
      [text] {
        execl("/bin/sh", "sh", "-c", text, nullptr);
        return kCannotStart;
      },
      where);
}

Process Process::Fork(const std::function<int()>& body, const Namespace* where) { return Start(body, where); }

Process::Process(Process&& other) noexcept { *this = std::move(other); }

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(output_, other.output_);
  std::swap(status_, other.status_);
  return *this;
}

std::string Process::Output() const {
  struct stat file {};
  if (fstat(output_, &file) != 0) return "";
  std::string text(static_cast<size_t>(file.st_size), '\0');
  const ssize_t got = pread(output_, text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

bool Process::WaitForOutput(const std::string& text, absl::Duration timeout) const {
  const absl::Time deadline = absl::Now() + timeout;
  while (Output().find(text) == std::string::npos) {
    const bool ended = status_ >= 0 || WaitReadable(pidfd_, absl::Milliseconds(5));
    if (ended || absl::Now() > deadline) return Output().find(text) != std::string::npos;
  }
  return true;
}

int Process::Wait(absl::Duration timeout) {
  if (status_ < 0) {
    if (!WaitReadable(pidfd_, timeout)) return kTimedOut;
    Reap();
  }
  return status_;
}

void Process::Reap() {
  int raw = 0;
  waitpid(pid_, &raw, 0);
  status_ = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
}

void Process::Signal(int number) const {
  if (status_ < 0) kill(-pid_, number);
}

int Process::End() {
  if (pid_ <= 0) return status_;
  if (status_ < 0) {
    Signal(SIGTERM);
    if (Wait(kPartingTime) == kTimedOut && status_ < 0) {
      Signal(SIGKILL);
      Reap();
    }
    AwaitGroup(pid_);
  }
  kill(-pid_, SIGKILL);  // what the command left behind in its group
  close(pidfd_);
  close(output_);
  pid_ = pidfd_ = output_ = -1;
  return status_;
}

CommandResult RunCommand(const std::string& command, const Namespace* where, absl::Duration timeout) {
  Process process = Process::Command(command, where);
  const int status = process.Wait(timeout);
  return {status, process.Output()};
}

}  // namespace sluice::testing
