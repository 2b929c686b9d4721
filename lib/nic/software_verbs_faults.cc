// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <map>

#include "absl/strings/numbers.h"
#include "nic/software_verbs_faults_internal.h"

namespace sluice {
namespace {

using Words = std::vector<std::string>;

// What a kind of fault is in a plan.
struct Kind {
  std::vector<uint64_t> FaultPlan::*script;
  double FaultPlan::*chance;
};
const std::map<std::string, Kind> kKinds = {
    {"lose", {&FaultPlan::lose, &FaultPlan::lose_chance}},
    {"duplicate", {&FaultPlan::duplicate, &FaultPlan::duplicate_chance}},
    {"reorder", {&FaultPlan::reorder, &FaultPlan::reorder_chance}},
    {"delay", {&FaultPlan::delay, &FaultPlan::delay_chance}},
};

bool ReadNumber(const std::string& word, uint32_t& number) { return absl::SimpleAtoi(word, &number); }

// "by 5": frames that overtake, or microseconds.
bool ReadBy(const Words& words, size_t at, FaultPlan& plan) {
  uint32_t by = 0;
  if (words.size() != at + 2 || words[at] != "by" || !ReadNumber(words[at + 1], by)) return false;
  if (words[1] == "reorder") plan.reorder_by = by;
  if (words[1] == "delay") plan.delay_time = absl::Microseconds(by);
  return words[1] == "reorder" || words[1] == "delay";
}

// "send lose 0.01", "receive reorder frame 7 by 5".
bool ReadPlan(const Words& words, FaultPlan& plan) {
  const auto kind = kKinds.find(words[1]);
  if (kind == kKinds.end() || words.size() < 3) return false;
  const bool scripted = words[2] == "frame";
  const size_t behind = scripted ? 4 : 3;
  if (words.size() < behind) return false;
  uint32_t frame = 0;
  double chance = 0;
  if (scripted && (!ReadNumber(words[3], frame) || frame == 0)) return false;
  if (!scripted && (!absl::SimpleAtod(words[2], &chance) || !(chance >= 0 && chance <= 1))) return false;
  if (words.size() > behind && !ReadBy(words, behind, plan)) return false;
  if (scripted) (plan.*(kind->second.script)).push_back(frame);
  if (!scripted) plan.*(kind->second.chance) = chance;
  return true;
}

bool ReadInto(const Words& words, SoftwareVerbsFaults& faults) {
  if (words.empty()) return false;
  if (words[0] == "none" && words.size() == 1) return faults = {}, true;
  if (words.size() < 2) return false;
  if (words[0] == "send") return ReadPlan(words, faults.send);
  if (words[0] == "receive") return ReadPlan(words, faults.receive);
  uint32_t number = 0;
  const bool numbered = words.size() == 2 && ReadNumber(words[1], number);
  if (words[0] == "seed") return faults.seed = number, numbered;
  if (words[0] == "late") return faults.completions_late = absl::Microseconds(number), numbered;
  if (words[0] != "overrun" || words.size() != 2) return false;
  faults.overrun = words[1] == "yes";
  return faults.overrun || words[1] == "no";
}

}  // namespace

bool ReadFault(const Words& words, SoftwareVerbsFaults& faults) {
  SoftwareVerbsFaults read = faults;
  if (!ReadInto(words, read)) return false;
  faults = read;
  return true;
}

}  // namespace sluice
