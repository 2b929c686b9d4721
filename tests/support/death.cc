// SPDX-License-Identifier: Apache-2.0
#include "tests/support/death.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

namespace sluice::testing {
namespace {

constexpr int kSurvived = 0;

// Catch would report the signal as the parent's failure.
[[noreturn]] void Die(int error_fd, const std::function<void()>& deed) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS}) std::signal(signal, SIG_DFL);
  dup2(error_fd, STDERR_FILENO);
  deed();
  _exit(kSurvived);
}

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t n = 0; (n = read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

std::string LastWords(const std::function<void()>& deed) {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) Die(ends[1], deed);
  close(ends[1]);
  std::string words = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == kSurvived ? "survived" : words;
}

}  // namespace sluice::testing
