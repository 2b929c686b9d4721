// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/burst_twin.h"

#include <sys/mman.h>

#include <cstring>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "packet/parse_burst_internal.h"
#include "packet/parse_internal.h"
#include "tests/support/layers_text.h"

namespace sluice::testing {
namespace {

std::string Text(ParseVerdict verdict, const Layers& layers, bool has_flow, const FlowKey& flow) {
  return absl::StrCat(LayersText(verdict, layers), " ", has_flow ? flow.ToString() : "none");
}

void Require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// What the general parser alone makes of a frame.
struct Expected {
  Expected(const Bytes& head, uint32_t length, LayerSet flows) : verdict(ParseAny(head, length, layers)) {
    has_flow = ExtractFlowKeyAt(head.data(), Select(layers, flows), flow);
  }
  bool Is(const ParsedPacketFlow& parsed, const Layers& found) const {
    return verdict == parsed.verdict && std::memcmp(&layers, &found, sizeof(layers)) == 0 &&
           has_flow == parsed.has_flow && (!has_flow || flow == parsed.flow);
  }

  Layers layers;
  FlowKey flow;
  ParseVerdict verdict;
  bool has_flow;
};

}  // namespace

BurstTwin::BurstTwin()
    : pool_(PacketPool::Create({.packets = 256, .huge_pages = HugePages::kOff}).value()), expected_() {
  constexpr size_t kSize = 2 * kPage * Burst::kCapacity;
  void* const memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Require(memory != MAP_FAILED, "mmap");
  pages_ = static_cast<uint8_t*>(memory);
  for (size_t i = 0; i < Burst::kCapacity; ++i) {
    Require(mprotect(pages_ + (2 * i + 1) * kPage, kPage, PROT_NONE) == 0, "mprotect");
  }
}

BurstTwin::~BurstTwin() { munmap(pages_, 2 * kPage * Burst::kCapacity); }

PacketPtr BurstTwin::Place(const Bytes& head, size_t length, size_t i) {
  Require(head.size() <= kMostHead, "a head of at most a page");
  uint8_t* const data = pages_ + (2 * i + 1) * kPage - head.size();
  if (!head.empty()) std::memcpy(data, head.data(), head.size());
  PacketPtr packet = pool_->GetOne();
  packet->BorrowBytes(data, static_cast<uint32_t>(head.size()), *this, 0);
  if (length <= head.size()) return packet;
  // The rest of the frame is not looked at: any memory will do.
  PacketPtr rest = pool_->GetOne();
  rest->BorrowBytes(pages_, static_cast<uint32_t>(length - head.size()), *this, 0);
  packet->Append(std::move(rest));
  return packet;
}

std::string BurstTwin::Check(const std::vector<Bytes>& heads, size_t length, SimdLevel level,
                             LayerSet flows) {
  Burst burst;
  for (size_t i = 0; i < heads.size(); ++i) burst.Push(Place(heads[i], length, i));
  for (Packet* packet : burst) std::memset(static_cast<void*>(&packet->layers()), 0xa5, sizeof(Layers));
  auto& parsed = parsed_[static_cast<size_t>(level)][static_cast<size_t>(flows)];
  parse_run.At(level)(
      {.packets = burst.begin(), .size = burst.size(), .flows = flows, .parsed = parsed.data()},
      expected_[static_cast<size_t>(level)][static_cast<size_t>(flows)]);
  for (size_t i = 0; i < burst.size(); ++i) {
    const Expected wanted(heads[i], burst[i].length(), flows);
    const ParsedPacketFlow& got = parsed[i];
    if (wanted.Is(got, burst[i].layers())) continue;
    return absl::StrCat("packet ", i, ", level ", static_cast<int>(level), ": ",
                        Text(got.verdict, burst[i].layers(), got.has_flow, got.flow), ", not ",
                        Text(wanted.verdict, wanted.layers, wanted.has_flow, wanted.flow));
  }
  return "";
}

std::string BurstTwin::Differences(const std::vector<Bytes>& heads, size_t length) {
  for (int level = 0; level <= static_cast<int>(BestSimdLevel()); ++level) {
    for (const LayerSet flows : {LayerSet::kOuter, LayerSet::kInner, LayerSet::kInnermost}) {
      std::string differences = Check(heads, length, static_cast<SimdLevel>(level), flows);
      if (!differences.empty()) return differences;
    }
  }
  return "";
}

}  // namespace sluice::testing
