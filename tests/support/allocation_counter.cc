// SPDX-License-Identifier: Apache-2.0
#include "tests/support/allocation_counter.h"

#include <cstdlib>
#include <new>

namespace sluice::testing {
namespace {

constinit thread_local uint64_t made_here = 0;

void* Counted(std::size_t size) {
  ++made_here;
  return std::malloc(size == 0 ? 1 : size);
}

void* Counted(std::size_t size, std::align_val_t alignment) {
  ++made_here;
  const auto unit = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
}

void* OrThrow(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

uint64_t AllocationCounter::OfThisThread() { return made_here; }

}  // namespace sluice::testing

using sluice::testing::Counted;
using sluice::testing::OrThrow;

// All forms, for a sanitizer brings its own of each, and memory must end where it began.
void* operator new(std::size_t size) { return OrThrow(Counted(size)); }
void* operator new[](std::size_t size) { return OrThrow(Counted(size)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return Counted(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return Counted(size); }
void* operator new(std::size_t size, std::align_val_t alignment) { return OrThrow(Counted(size, alignment)); }
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return OrThrow(Counted(size, alignment));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return Counted(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return Counted(size, alignment);
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept { std::free(memory); }
