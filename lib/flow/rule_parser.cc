// SPDX-License-Identifier: Apache-2.0
// Reads a rule's text, one word after the other; the first word that does not fit ends it, with its column and
// what could have stood there.

#include <charconv>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "flow/rule_fields_internal.h"
#include "flow/rule_words_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr int kBeforeAll = -1;

// Decimal, or hexadecimal behind 0x; nothing else, and no sign.
bool ReadNumber(absl::string_view word, uint64_t max, uint64_t& out) {
  const int base = absl::ConsumePrefix(&word, "0x") ? 16 : 10;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out, base);
  return error == std::errc() && end == word.data() + word.size() && out <= max;
}

class RuleParser {
 public:
  explicit RuleParser(absl::string_view text) : text_(text) { Advance(); }

  absl::StatusOr<Rule> Read() {
    Rule rule;
    const bool read = ReadAttributes(rule) && Want("pattern") && ReadPattern(rule.match) && Want("actions") &&
                      ReadActions(rule.actions) && WantEnd();
    if (!read) return Refusal();
    if (absl::Status checked = CheckRule(rule); !checked.ok()) return checked;
    return rule;
  }

 private:
  // The word at hand, empty at the end of the text.
  void Advance() {
    at_ += word_.size();
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    size_t end = at_;
    while (end < text_.size() && !absl::ascii_isspace(static_cast<unsigned char>(text_[end]))) ++end;
    word_ = text_.substr(at_, end - at_);
  }
  bool Take(absl::string_view word) {
    if (word_ != word) return false;
    Advance();
    return true;
  }
  bool Want(absl::string_view word) { return Take(word) || Expected(absl::StrCat("\"", word, "\"")); }
  bool WantEnd() { return word_.empty() || Expected("the end of the text"); }
  bool Expected(std::string what) {
    expected_ = std::move(what);
    return false;
  }
  bool ExpectedOne(const std::vector<absl::string_view>& words) {
    return Expected(absl::StrCat("one of ", absl::StrJoin(words, ", ")));
  }
  absl::Status Refusal() const {
    const std::string found =
        word_.empty() ? "the text ends" : absl::StrCat("\"", absl::CHexEscape(word_), "\" is wrong");
    return ErrorStatus(absl::StatusCode::kInvalidArgument,
                       {.stage = "read rule",
                        .what = absl::StrCat("column ", at_ + 1, ": ", found),
                        .remedy = absl::StrCat("write ", expected_)});
  }

  bool Number(uint64_t max, uint64_t& out) {
    if (!ReadNumber(word_, max, out)) return Expected(absl::StrCat("a number from 0 to ", max));
    Advance();
    return true;
  }

  bool ReadAttributes(Rule& rule) {
    if (Take(WordOf(RuleDirection::kEgress))) {
      rule.direction = RuleDirection::kEgress;
    } else {
      Take(WordOf(RuleDirection::kIngress));
    }
    for (const RuleKind kind : {RuleKind::kAllDefault, RuleKind::kMulticastDefault, RuleKind::kSniffer}) {
      if (rule.kind == RuleKind::kNormal && Take(WordOf(kind))) rule.kind = kind;
    }
    uint64_t priority = 0;
    if (Take("priority") && !Number(std::numeric_limits<uint32_t>::max(), priority)) return false;
    rule.priority = static_cast<uint32_t>(priority);
    return true;
  }

  bool ReadPattern(RuleMatch& match) {
    int place = kBeforeAll;
    while (!Take("end")) {
      if (!ReadHeader(match, place) || !Want("/")) return false;
    }
    return true;
  }

  // The header that the word at hand names, if it can stand behind the one at `place`.
  bool ReadHeader(RuleMatch& match, int& place) {
    const int last = place;
    bool named = false;
    bool read = false;
    std::vector<absl::string_view> fitting;
    ForEachHeader(match, [&](absl::string_view word, int at, auto& header) {
      const bool fits = at > last && (at < kInnerPlace || last >= kTunnelPlace);
      if (!fits || named) return;
      fitting.push_back(word);
      if (!Take(word)) return;
      named = true;
      place = at;
      read = ReadFields(header.emplace());
    });
    if (named) return read;
    fitting.push_back("end");
    return ExpectedOne(fitting);
  }

  template <typename Item>
  bool ReadFields(Item& item) {
    while (word_ != "/") {
      bool named = false;
      bool read = false;
      std::vector<absl::string_view> fitting;
      ForEachField(item, [&](absl::string_view word, auto& field, Radix) {
        fitting.push_back(word);
        if (named || !Take(word)) return;
        named = true;
        read = ReadOperator(field);
      });
      fitting.push_back("/");
      if (!named) return ExpectedOne(fitting);
      if (!read) return false;
    }
    return true;
  }

  // "is" comes first, and what follows it says how much of the value counts.
  template <typename T, int kBits>
  bool ReadOperator(Masked<T, kBits>& field) {
    if (field.any()) return Want("is") && ReadValue(field);
    if (!field.exact()) return Expected("another field: this one has its mask");
    Masked<T, kBits> mask;
    if (Take("mask")) {
      if (!ReadValue(mask)) return false;
    } else if (Take("prefix")) {
      uint64_t length = 0;
      if (!Number(kBits, length)) return false;
      mask = Masked<T, kBits>(Masked<T, kBits>::Leading(static_cast<int>(length)));
    } else {
      return ExpectedOne({"mask", "prefix"});
    }
    field = Masked<T, kBits>(field.value(), mask.value());
    return true;
  }

  template <typename T, int kBits>
  bool ReadValue(Masked<T, kBits>& field) {
    if constexpr (std::is_unsigned_v<T>) {
      uint64_t number = 0;
      if (!Number(Masked<T, kBits>::Leading(kBits), number)) return false;
      field = static_cast<T>(number);
      return true;
    } else {
      return ReadAddress(field);
    }
  }

  template <typename Address>
  bool ReadAddress(Masked<Address>& field) {
    const absl::StatusOr<Address> address = Address::Parse(word_);
    if (!address.ok()) return Expected(AddressName(Address()));
    Advance();
    field = *address;
    return true;
  }
  static std::string AddressName(MacAddress) { return "a MAC address, as 02:00:00:00:00:01"; }
  static std::string AddressName(Ipv4Address) { return "an IPv4 address, as 192.0.2.1"; }
  static std::string AddressName(Ipv6Address) { return "an IPv6 address, as 2001:db8::1"; }

  bool ReadActions(RuleActions& actions) {
    while (!Take("end")) {
      if (!ReadAction(actions) || !Want("/")) return false;
    }
    return true;
  }

  bool ReadAction(RuleActions& actions) {
    uint64_t number = 0;
    if (Take("queue")) {
      if (!Want("index") || !Number(std::numeric_limits<QueueId::rep>::max(), number)) return false;
      actions.queue = QueueId(static_cast<QueueId::rep>(number));
    } else if (Take("mark")) {
      if (!Want("id") || !Number(std::numeric_limits<uint32_t>::max(), number)) return false;
      actions.mark = static_cast<uint32_t>(number);
    } else if (Take("drop")) {
      actions.drop = true;
    } else if (Take("count")) {
      actions.count = true;
    } else if (Take("passthru")) {
      actions.pass_on = true;
    } else if (!Take("rss")) {
      return ExpectedOne({"queue", "drop", "rss", "mark", "count", "passthru", "end"});
    }
    return true;
  }

  const absl::string_view text_;
  absl::string_view word_;
  size_t at_ = 0;  // where word_ starts
  std::string expected_;
};

}  // namespace

absl::StatusOr<Rule> Rule::Parse(absl::string_view text) { return RuleParser(text).Read(); }

}  // namespace sluice
