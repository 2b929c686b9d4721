// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/copy_engine.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nic/copy/copy_options_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

class CpuCopyEngine final : public CopyEngine {
 public:
  explicit CpuCopyEngine(size_t capacity) : done_(capacity) {}

  const std::string& name() const override { return name_; }
  size_t capacity() const override { return done_.size(); }

  bool Submit(const CopyRequest& copy) override {
    if (count_ == done_.size()) return false;
    std::memcpy(copy.to, copy.from, copy.bytes);
    done_[(first_ + count_++) % done_.size()] = copy.token;
    return true;
  }
  void RingDoorbell() override {}

  size_t Poll(absl::Span<CopyResult> results) override {
    const size_t told = std::min(results.size(), count_);
    for (CopyResult& result : results.first(told)) {
      result = {.token = done_[first_], .done = true};
      first_ = (first_ + 1) % done_.size();
    }
    count_ -= told;
    return told;
  }

  bool removed() const override { return false; }
  void Quiesce() override {}

 private:
  const std::string name_ = "cpu";
  std::vector<uint64_t> done_;  // tokens: a ring
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace

absl::Status CheckCopyCapacity(const std::string& engine, size_t capacity) {
  constexpr size_t kMost = 65536;
  if (capacity > 0 && capacity <= kMost) return absl::OkStatus();
  return RefuseCopyOption(engine, "capacity", absl::StrCat(capacity), "give 1 to 65536 copies");
}

absl::Status RefuseCopyOption(const std::string& engine, const char* option, std::string what,
                              std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = absl::StrCat("copy engine ", engine),
                                                          .stage = "open",
                                                          .capability = option,
                                                          .what = std::move(what),
                                                          .remedy = std::move(remedy)});
}

absl::StatusOr<std::unique_ptr<CopyEngine>> MakeCpuCopyEngine(size_t capacity) {
  if (absl::Status checked = CheckCopyCapacity("cpu", capacity); !checked.ok()) return checked;
  return std::make_unique<CpuCopyEngine>(capacity);
}

CopyCounts& CopyCounts::operator+=(const CopyCounts& other) {
  for (uint64_t CopyCounts::*count : {&CopyCounts::by_engine, &CopyCounts::small, &CopyCounts::full,
                                      &CopyCounts::failed, &CopyCounts::removed, &CopyCounts::not_allowed,
                                      &CopyCounts::polls, &CopyCounts::early_polls, &CopyCounts::timeouts}) {
    this->*count += other.*count;
  }
  return *this;
}

}  // namespace sluice
