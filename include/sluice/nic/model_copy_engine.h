// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_COPY_ENGINE_H_
#define SLUICE_NIC_MODEL_COPY_ENGINE_H_

// A DMA engine as bad as they come: late, out of order, failing, full, and gone. For tests, and rehearsals of what a port does
// about it.
//
//   ManualClock clock;
//   auto engine = ModelCopyEngine::Create({.slowest = absl::Microseconds(8), .fail_chance = 0.01, .clock = &clock});
//
// A copy's bytes are written when it is told of, and not before: who looks at the destination too early sees poison there, and
// who gives the source away too early has copied what was put there since. A copy that fails leaves half of its bytes.
//
// Chance: the same seed, clock and copies meet the same fate.
// Cost: it copies by processor, in Poll, and poisons by processor before: use it for no benchmark but of what is around it.
// Threads: as CopyEngine; Remove from any.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/nic/copy_engine.h"

namespace sluice {

struct ModelCopyEngineOptions {
  std::string name = "model";
  size_t capacity = 256;  // 1 to 65536
  // From doorbell to completion: each copy takes a time between these, by chance. Apart, copies overtake one another.
  absl::Duration fastest = absl::ZeroDuration();
  absl::Duration slowest = absl::ZeroDuration();
  double fail_chance = 0;              // 0 to 1
  std::vector<uint64_t> fail = {};     // besides: copies by number, from 1, in the order of Submit
  uint64_t removed_after = 0;          // it goes with the doorbell of this copy, by number; 0: it stays
  bool finishes_when_quiesced = true;  // false: what is under way then fails
  bool poisons = true;                 // false: the destination keeps what it had
  uint64_t seed = 1;
  const Clock* clock = nullptr;  // outlives the engine. Null = Clock::Monotonic()
};

class SLUICE_EXPORT ModelCopyEngine : public CopyEngine {
 public:
  static constexpr uint8_t kPoison = 0xdb;

  // kInvalidArgument, by name, for an option out of range.
  static absl::StatusOr<std::unique_ptr<ModelCopyEngine>> Create(const ModelCopyEngineOptions& options);

  // Takes it out of the machine.
  virtual void Remove() = 0;
  // Copies that are with it. As CopyEngine.
  virtual size_t pending() const = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_COPY_ENGINE_H_
