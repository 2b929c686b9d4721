// SPDX-License-Identifier: Apache-2.0
#include "tests/support/footprint.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace sluice::testing {
namespace {

size_t CountDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

size_t CountMappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

std::string Affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::string text;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) text += CPU_ISSET(cpu, &set) ? '1' : '0';
  return text;
}

std::string SignalMask() {
  sigset_t set;
  pthread_sigmask(SIG_SETMASK, nullptr, &set);
  std::string text;
  for (int number = 1; number < NSIG; ++number) text += sigismember(&set, number) == 1 ? '1' : '0';
  return text;
}

}  // namespace

Footprint Footprint::Now() {
  return {.descriptors = CountDescriptors(),
          .mappings = CountMappings(),
          .heap = mallinfo2().uordblks,
          .affinity = Affinity(),
          .signal_mask = SignalMask()};
}

StderrCapture::StderrCapture() : file_(memfd_create("stderr", MFD_CLOEXEC)), saved_(dup(STDERR_FILENO)) {
  std::fflush(stderr);
  dup2(file_, STDERR_FILENO);
}

StderrCapture::~StderrCapture() {
  std::fflush(stderr);
  dup2(saved_, STDERR_FILENO);
  close(saved_);
  close(file_);
}

std::string StderrCapture::text() const {
  std::fflush(stderr);
  std::string text(static_cast<size_t>(lseek(file_, 0, SEEK_END)), '\0');
  [[maybe_unused]] const ssize_t got = pread(file_, text.data(), text.size(), 0);
  return text;
}

}  // namespace sluice::testing
