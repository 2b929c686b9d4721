// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_WRITE_TRAP_H_
#define SLUICE_TESTS_SUPPORT_WRITE_TRAP_H_

// Counts the stores that this process makes to some pages, and ends it at one of them: behind the one before and ahead of this
// one, as if it was killed there. For bookkeeping in shared memory that must be right after each.
//
//   pages are read-only ─▶ a store faults: counted ─▶ made, with the trap flag set ─▶ read-only again
//
// For a child process, which has one trap and one thread. x86-64 only.

#include <cstddef>
#include <cstdint>

namespace sluice::testing {

// From now on. `pages` begins a page, of a shared mapping, `bytes` is a multiple of one. At store number `last`, from 0 on, the
// process exits with kTrapped.
inline constexpr int kTrapped = 77;
void TrapWrites(uint8_t* pages, size_t bytes, size_t last);
// How many were counted so far.
size_t TrappedWrites();

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_WRITE_TRAP_H_
