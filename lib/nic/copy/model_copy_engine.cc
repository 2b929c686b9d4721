// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/model_copy_engine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/copy/copy_options_internal.h"

namespace sluice {
namespace {

absl::Status Check(const ModelCopyEngineOptions& options) {
  if (absl::Status capacity = CheckCopyCapacity(options.name, options.capacity); !capacity.ok())
    return capacity;
  if (options.fastest < absl::ZeroDuration() || options.slowest < options.fastest ||
      options.slowest > absl::Seconds(1))
    return RefuseCopyOption(options.name, "slowest", absl::StrCat(absl::FormatDuration(options.slowest)),
                            "give a time from that of the fastest to a second");
  if (!(options.fail_chance >= 0 && options.fail_chance <= 1))
    return RefuseCopyOption(options.name, "fail_chance", absl::StrCat(options.fail_chance), "give 0 to 1");
  return absl::OkStatus();
}

class ModelCopyEngineImpl final : public ModelCopyEngine {
 public:
  explicit ModelCopyEngineImpl(const ModelCopyEngineOptions& options);

  const std::string& name() const override { return options_.name; }
  size_t capacity() const override { return options_.capacity; }
  bool Submit(const CopyRequest& copy) override;
  void RingDoorbell() override;
  size_t Poll(absl::Span<CopyResult> results) override;
  bool removed() const override { return removed_.load(std::memory_order_acquire); }
  void Quiesce() override;
  void Remove() override { removed_.store(true, std::memory_order_release); }
  size_t pending() const override { return staged_.size() + started_.size(); }

 private:
  struct UnderWay {
    CopyRequest copy;
    uint64_t number = 0;  // from 1, as submitted
    Nanoseconds due = 0;
    bool fails = false;

    // The first to be told of is the greatest, as heaps have it.
    bool operator<(const UnderWay& other) const {
      return std::pair(due, number) > std::pair(other.due, other.number);
    }
  };
  bool Fails(uint64_t number);
  void Start(UnderWay one, Nanoseconds now);
  CopyResult End(const UnderWay& one);

  const ModelCopyEngineOptions options_;
  const Clock& clock_;
  std::mt19937_64 random_;
  std::uniform_int_distribution<Nanoseconds> time_;
  std::bernoulli_distribution chance_;
  std::vector<UnderWay> staged_;   // since the doorbell
  std::vector<UnderWay> started_;  // a heap
  uint64_t submitted_ = 0;
  std::atomic<bool> removed_{false};
};

ModelCopyEngineImpl::ModelCopyEngineImpl(const ModelCopyEngineOptions& options)
    : options_(options),
      clock_(options.clock != nullptr ? *options.clock : Clock::Monotonic()),
      random_(options.seed),
      time_(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options.fastest)),
            static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options.slowest))),
      chance_(options.fail_chance) {
  staged_.reserve(options.capacity);
  started_.reserve(options.capacity);
}

bool ModelCopyEngineImpl::Submit(const CopyRequest& copy) {
  if (removed() || pending() == options_.capacity) return false;
  if (options_.poisons) std::memset(copy.to, kPoison, copy.bytes);
  staged_.push_back({.copy = copy, .number = ++submitted_});
  return true;
}

void ModelCopyEngineImpl::RingDoorbell() {
  if (removed() || staged_.empty()) return;
  const Nanoseconds now = clock_.Now();
  for (const UnderWay& one : staged_) Start(one, now);
  staged_.clear();
  if (options_.removed_after != 0 && submitted_ >= options_.removed_after) Remove();
}

void ModelCopyEngineImpl::Start(UnderWay one, Nanoseconds now) {
  one.due = now + time_(random_);
  one.fails = Fails(one.number);
  started_.push_back(one);
  std::push_heap(started_.begin(), started_.end());
}

bool ModelCopyEngineImpl::Fails(uint64_t number) {
  const bool by_chance = chance_(random_);
  return by_chance || std::find(options_.fail.begin(), options_.fail.end(), number) != options_.fail.end();
}

size_t ModelCopyEngineImpl::Poll(absl::Span<CopyResult> results) {
  if (removed() || started_.empty()) return 0;
  const Nanoseconds now = clock_.Now();
  size_t told = 0;
  while (told < results.size() && !started_.empty() && started_.front().due <= now) {
    std::pop_heap(started_.begin(), started_.end());
    results[told++] = End(started_.back());
    started_.pop_back();
  }
  return told;
}

CopyResult ModelCopyEngineImpl::End(const UnderWay& one) {
  const CopyRequest& copy = one.copy;
  std::memcpy(copy.to, copy.from, one.fails ? copy.bytes / 2 : copy.bytes);
  return {.token = copy.token, .done = !one.fails};
}

void ModelCopyEngineImpl::Quiesce() {
  RingDoorbell();
  for (UnderWay& one : started_) {
    one.due = 0;
    one.fails |= !options_.finishes_when_quiesced;
  }
  std::make_heap(started_.begin(), started_.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelCopyEngine>> ModelCopyEngine::Create(
    const ModelCopyEngineOptions& options) {
  if (absl::Status checked = Check(options); !checked.ok()) return checked;
  return std::make_unique<ModelCopyEngineImpl>(options);
}

}  // namespace sluice
