// SPDX-License-Identifier: Apache-2.0
// Bytes of a peer, first as they are, then as a section with a right wrapping, so that the checksum does not keep the
// fuzzer out. What loads must survive saving and loading again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "sluice/base/saved_state.h"
#include "tests/support/sample_state.h"

namespace {

using sluice::testing::SampleState;

void LoadAndCheck(absl::Span<const uint8_t> bytes) {
  const absl::StatusOr<SampleState> state = sluice::LoadState<SampleState>(bytes);
  if (!state.ok()) return;
  const absl::StatusOr<SampleState> again = sluice::LoadState<SampleState>(sluice::SaveState(*state));
  if (!again.ok() || *again != *state) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  LoadAndCheck({data, size});
  LoadAndCheck(sluice::testing::Wrapped({data, size}));
  return 0;
}
