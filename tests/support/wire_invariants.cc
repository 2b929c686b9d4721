// SPDX-License-Identifier: Apache-2.0
#include "tests/support/wire_invariants.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/rss.h"
#include "tests/support/layers_text.h"

namespace sluice::testing {
namespace {

// Memory that ends with the last byte.
class ExactCopy {
 public:
  explicit ExactCopy(absl::Span<const uint8_t> bytes)
      : size_(bytes.size()), bytes_(new uint8_t[bytes.size()]) {
    if (size_ != 0) std::memcpy(bytes_.get(), bytes.data(), size_);
  }
  absl::Span<const uint8_t> span() const { return {bytes_.get(), size_}; }
  uint8_t* data() const { return bytes_.get(); }

 private:
  const size_t size_;
  const std::unique_ptr<uint8_t[]> bytes_;
};

class KeepsNothing final : public Lender {
 public:
  void Returned(absl::Span<const uint64_t>) override {}
};

std::string Check(bool holds, const char* property, const std::string& text) {
  return holds ? "" : absl::StrCat(property, ": ", text);
}

bool Ordered(uint32_t start, const LayerOffsets& at, uint32_t end) {
  return start <= at.l3 && at.l3 <= at.l4 && at.l4 <= at.payload && at.payload <= end;
}

bool InOrder(const Layers& layers, uint32_t head) {
  if (!Ordered(0, layers.outer, head)) return false;
  if (layers.tunnel != TunnelType::kNone) {
    return layers.outer.payload <= layers.inner_l2 && Ordered(layers.inner_l2, layers.inner, head);
  }
  return layers.inner_l2 == 0 && layers.inner.payload == 0 && layers.inner.l3_type == L3Type::kNone &&
         layers.inner.l4_type == L4Type::kNone && layers.inner_verdict == ParseVerdict::kOk;
}

// Everything that is computed from the headers of a whole frame.
std::string Summary(const ExactCopy& copy) {
  static const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff}).value();
  static const RssConfig rss = RssConfig::Spread(4);
  KeepsNothing lender;
  PacketPtr packet = pool->GetOne();
  packet->BorrowBytes(copy.data(), static_cast<uint32_t>(copy.span().size()), lender, 0);
  const ParseVerdict verdict = Parse(*packet);
  std::string text = LayersText(verdict, packet->layers());
  FlowKey key;
  if (ExtractFlowKey(*packet, key)) absl::StrAppend(&text, " ", key.ToString());
  if (ExtractInnerFlowKey(*packet, key)) absl::StrAppend(&text, " ", key.ToString());
  absl::StrAppend(&text, " ", RssHash(rss, *packet).hash);
  if (verdict != ParseVerdict::kOk) return text;
  for (const LayerSet set : {LayerSet::kOuter, LayerSet::kInnermost}) {
    absl::StrAppend(&text, " ", static_cast<int>(VerifyIpv4Checksum(*packet, set)),
                    static_cast<int>(VerifyL4Checksum(*packet, set)));
  }
  return text;
}

// Filled checksums verify. Empty for frames that do not fit a buffer.
std::string BrokenFill(absl::Span<const uint8_t> frame) {
  static const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff}).value();
  PacketPtr packet = pool->GetOne();
  if (frame.size() > packet->tailroom()) return "";
  std::copy(frame.begin(), frame.end(), packet->data());
  packet->SetLength(static_cast<uint32_t>(frame.size()));
  if (Parse(*packet) != ParseVerdict::kOk) return "";
  // From the inside out: what is inside is covered by what is outside.
  for (const LayerSet set : {LayerSet::kInnermost, LayerSet::kOuter}) {
    const bool l3 = FillIpv4Checksum(*packet, set);
    const bool l4 = FillL4Checksum(*packet, set);
    const bool good = (!l3 || VerifyIpv4Checksum(*packet, set) == ChecksumVerdict::kGood) &&
                      (!l4 || VerifyL4Checksum(*packet, set) == ChecksumVerdict::kGood);
    if (!good) return absl::StrCat("a filled checksum is bad: ", ParsedText(frame));
  }
  return "";
}

bool CutShort(ParseVerdict verdict, const Layers& layers) {
  return verdict == ParseVerdict::kTruncated || layers.inner_verdict == ParseVerdict::kTruncated;
}

}  // namespace

std::string BrokenWireInvariant(absl::Span<const uint8_t> head, uint32_t frame_length) {
  const ExactCopy copy(head);
  Layers layers;
  const ParseVerdict verdict = Parse(copy.span(), frame_length, layers);
  const std::string text = LayersText(verdict, layers);
  std::string broken = Check(InOrder(layers, static_cast<uint32_t>(head.size())), "out of order", text);
  if (!broken.empty()) return broken;

  for (const size_t part : {head.size() / 2, head.size() - head.size() / 4}) {
    const ExactCopy prefix(head.first(part));
    Layers shorter;
    const ParseVerdict early = Parse(prefix.span(), frame_length, shorter);
    const std::string early_text = LayersText(early, shorter);
    const bool consistent = CutShort(early, shorter) || early_text == text;
    broken = Check(consistent, "a longer head changes what was known", absl::StrCat(early_text, " / ", text));
    if (!broken.empty()) return broken;
  }
  broken = Check(Summary(copy) == Summary(ExactCopy(head)), "two copies differ", text);
  return broken.empty() ? BrokenFill(head) : broken;
}

}  // namespace sluice::testing
