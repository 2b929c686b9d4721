// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_SIMD_INTERNAL_H_
#define SLUICE_PACKET_SIMD_INTERNAL_H_

// A function of which there are several, for processors of several ages: one is chosen when it is first called.
//
//   constinit Dispatch<uint16_t(const uint8_t*, size_t)> word_sum(
//       {.scalar = &WordSumScalar, .avx2 = &WordSumAvx2, .icelake = &WordSumIceLake});
//   ... word_sum(data, size) ...
//
// Each variant carries its own target attribute (SLUICE_TARGET_...), never a flag of its whole file: what
// headers define inline would else be compiled for the newer processor, and the linker might keep that copy
// for all. Tests call each variant that this processor can run through At().

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/packet/simd.h"

namespace sluice {

#define SLUICE_TARGET_AVX2 [[gnu::target("avx2,pclmul,bmi,bmi2")]]
#define SLUICE_TARGET_AVX512 [[gnu::target("avx2,pclmul,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]]
#define SLUICE_TARGET_ICELAKE                                                                           \
  [[gnu::target(                                                                                        \
      "avx2,pclmul,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2,gfni," \
      "vpclmulqdq")]]

template <typename Signature>
class Dispatch;

template <typename Result, typename... Arguments>
class Dispatch<Result(Arguments...)> {
 public:
  using Function = Result (*)(Arguments...);
  // Null where a level has nothing better than the one below it.
  struct Variants {
    Function scalar;
    Function avx2 = nullptr;
    Function avx512 = nullptr;
    Function icelake = nullptr;
  };

  explicit constexpr Dispatch(const Variants& variants)
      : variants_{variants.scalar, variants.avx2, variants.avx512, variants.icelake} {}

  Result operator()(Arguments... arguments) {
    // Relaxed: any thread that finds nothing chooses the same.
    Function chosen = chosen_.load(std::memory_order_relaxed);
    if (chosen == nullptr) [[unlikely]] {
      chosen = At(BestSimdLevel());
      chosen_.store(chosen, std::memory_order_relaxed);
    }
    return chosen(arguments...);
  }

  // The best variant of those up to `level`, which is at most BestSimdLevel().
  Function At(SimdLevel level) const {
    size_t i = static_cast<size_t>(level);
    while (variants_[i] == nullptr) --i;
    return variants_[i];
  }

 private:
  const std::array<Function, kSimdLevels> variants_;
  std::atomic<Function> chosen_{nullptr};
};

}  // namespace sluice

#endif  // SLUICE_PACKET_SIMD_INTERNAL_H_
