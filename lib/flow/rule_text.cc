// SPDX-License-Identifier: Apache-2.0
// A rule in words. The reading side is rule_parser.cc.

#include "absl/strings/str_cat.h"
#include "flow/rule_fields_internal.h"
#include "flow/rule_words_internal.h"

namespace sluice {
namespace {

template <typename T>
std::string ValueText(T value, Radix radix) {
  if constexpr (!std::is_unsigned_v<T>) {
    return value.ToString();
  } else {
    const uint64_t number = value;
    return radix == Radix::kHex ? absl::StrCat("0x", absl::Hex(number)) : absl::StrCat(number);
  }
}

template <typename T, int kBits>
void AppendField(absl::string_view word, const Masked<T, kBits>& field, Radix radix, std::string& text) {
  if (field.any()) return;
  absl::StrAppend(&text, word, " is ", ValueText(field.value(), radix), " ");
  if (!field.exact()) absl::StrAppend(&text, word, " mask ", ValueText(field.mask(), Radix::kHex), " ");
}

template <typename Item>
void AppendHeader(absl::string_view word, const std::optional<Item>& header, std::string& text) {
  if (!header) return;
  absl::StrAppend(&text, word, " ");
  ForEachField(*header, [&](absl::string_view name, const auto& field, Radix radix) {
    AppendField(name, field, radix, text);
  });
  text += "/ ";
}

void AppendActions(const RuleActions& actions, std::string& text) {
  if (actions.queue) absl::StrAppend(&text, "queue index ", actions.queue->value(), " / ");
  if (actions.drop) text += "drop / ";
  if (actions.mark) absl::StrAppend(&text, "mark id ", *actions.mark, " / ");
  if (actions.count) text += "count / ";
  if (actions.pass_on) text += "passthru / ";
  if (!actions.queue && !actions.drop && !actions.pass_on) text += "rss / ";
}

}  // namespace

std::string Rule::ToString() const {
  std::string text = absl::StrCat(WordOf(direction), " ");
  if (kind != RuleKind::kNormal) absl::StrAppend(&text, WordOf(kind), " ");
  if (priority != 0) absl::StrAppend(&text, "priority ", priority, " ");
  text += "pattern ";
  ForEachHeader(match,
                [&](absl::string_view word, int, const auto& header) { AppendHeader(word, header, text); });
  text += "end actions ";
  AppendActions(actions, text);
  return text += "end";
}

}  // namespace sluice
