// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_PROCESS_H_
#define SLUICE_TESTS_SUPPORT_PROCESS_H_

// A child process of a test: a shell command, or a function in a fork of the test itself. It never outlives
// the test: the destructor ends and reaps it with everything in its process group, and the kernel kills it
// should the thread that started it die first.
//
//   Process server = Process::Command("iperf3 -s -1", &ns);
//   REQUIRE(server.WaitForOutput("listening", absl::Seconds(5)));
//
// Failures to start throw std::runtime_error, which fails the test with the reason.

#include <sys/types.h>

#include <functional>
#include <string>

#include "absl/time/time.h"

namespace sluice::testing {

class Namespace;

struct CommandResult {
  int status = 0;      // exit status; 128 + N when signal N ended it; kTimedOut
  std::string output;  // standard output and error, as they came
  bool ok() const { return status == 0; }
};

inline constexpr int kTimedOut = 124;  // as timeout(1) says it

class Process {
 public:
  // Runs `command` with /bin/sh, in `where` or, when null, in the network namespace of the calling thread.
  static Process Command(const std::string& command, const Namespace* where = nullptr);
  // Runs `body` in a fork and exits with what it returns. Only while no other thread runs.
  static Process Fork(const std::function<int()>& body, const Namespace* where = nullptr);

  ~Process() { End(); }
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  pid_t pid() const { return pid_; }
  std::string Output() const;  // so far
  bool WaitForOutput(const std::string& text, absl::Duration timeout) const;

  // The exit status as in CommandResult; on kTimedOut the process still runs.
  int Wait(absl::Duration timeout);
  void Signal(int number) const;
  // SIGTERM, two seconds of patience, then SIGKILL; harmless when it has ended. Returns the status.
  int End();

 private:
  Process() = default;
  static Process Start(const std::function<int()>& body, const Namespace* where);
  void Reap();

  pid_t pid_ = -1;
  int pidfd_ = -1;
  int output_ = -1;  // a memfd: a child that writes much never blocks on us
  int status_ = -1;  // -1 while it runs
};

// Runs `command` to its end, or ends it after `timeout`.
CommandResult RunCommand(const std::string& command, const Namespace* where = nullptr,
                         absl::Duration timeout = absl::Seconds(20));

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_PROCESS_H_
