// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MODEL_ENGINE_H_
#define SLUICE_TESTS_NIC_MODEL_ENGINE_H_

// Model copy engines for a port, on a clock that is turned by hand:
//
//   ModelEngines engines({.slowest = absl::Microseconds(5)});
//   VhostPair pair({.port = {.copies = engines.Options()}});
//   engines.Pass(absl::Microseconds(20));

#include <memory>
#include <utility>
#include <vector>

#include "sluice/nic/copy_engine.h"
#include "sluice/nic/model_copy_engine.h"

namespace sluice::testing {

// Outlives the port.
class ModelEngines {
 public:
  explicit ModelEngines(ModelCopyEngineOptions options = {}) : options_(std::move(options)) {
    options_.clock = &clock_;
  }

  DeferredCopyOptions Options(uint32_t at_least = 64) {
    return {.engine = [this](QueueId) { return Make(); },
            .at_least = at_least,
            .patience = kPatience,
            .clock = &clock_};
  }
  static constexpr absl::Duration kPatience = absl::Microseconds(20);

  void Pass(absl::Duration time) { clock_.Advance(time); }
  // In the order in which they were asked for. Those of a port that stopped are gone.
  ModelCopyEngine& operator[](size_t i) { return *made_[i]; }
  size_t pending(size_t i = 0) const { return made_[i]->pending(); }

 private:
  absl::StatusOr<std::unique_ptr<CopyEngine>> Make() {
    absl::StatusOr<std::unique_ptr<ModelCopyEngine>> engine = ModelCopyEngine::Create(options_);
    if (engine.ok()) made_.push_back(engine->get());
    return engine;
  }

  ManualClock clock_;
  ModelCopyEngineOptions options_;
  std::vector<ModelCopyEngine*> made_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_MODEL_ENGINE_H_
