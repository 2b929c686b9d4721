// SPDX-License-Identifier: Apache-2.0
#include "tests/support/write_trap.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace sluice::testing {
namespace {

constexpr greg_t kTrapFlag = 0x100;

uint8_t* watched = nullptr;
size_t watched_bytes = 0;
size_t count = 0;
size_t stop_at = 0;

void Protect(int how) {
  if (mprotect(watched, watched_bytes, how) != 0) _exit(EXIT_FAILURE);
}

greg_t& FlagsOf(void* context) { return static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL]; }

void OnFault(int, siginfo_t* info, void* context) {
  const auto* const at = static_cast<const uint8_t*>(info->si_addr);
  if (at < watched || at >= watched + watched_bytes) _exit(EXIT_FAILURE);
  if (count == stop_at) _exit(kTrapped);
  ++count;
  Protect(PROT_READ | PROT_WRITE);
  FlagsOf(context) |= kTrapFlag;
}

void OnStep(int, siginfo_t*, void* context) {
  FlagsOf(context) &= ~kTrapFlag;
  Protect(PROT_READ);
}

void Catch(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(signal, &action, nullptr);
}

}  // namespace

void TrapWrites(uint8_t* pages, size_t bytes, size_t last) {
  watched = pages;
  watched_bytes = bytes;
  count = 0;
  stop_at = last;
  Catch(SIGSEGV, OnFault);
  Catch(SIGTRAP, OnStep);
  Protect(PROT_READ);
}

size_t TrappedWrites() { return count; }

}  // namespace sluice::testing
