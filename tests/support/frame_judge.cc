// SPDX-License-Identifier: Apache-2.0
#include "tests/support/frame_judge.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kIpv4 = 0x0800, kIpv6 = 0x86dd, kVlan = 0x8100, kServiceVlan = 0x88a8, kEthernet = 0x6558;
constexpr uint8_t kTcp = 6, kUdp = 17, kGre = 47;
constexpr uint16_t kVxlanPort = 4789, kGenevePort = 6081;

// From the first header to the last; throws what is wrong.
class Walk {
 public:
  explicit Walk(const Bytes& frame) : frame_(frame) {}

  JudgedFrame Ethernet() {
    Skip(12);
    uint16_t type = Take16();
    while (type == kVlan || type == kServiceVlan) Skip(2), type = Take16();
    return L3(type);
  }

 private:
  size_t left() const { return frame_.size() - at_; }
  void Need(size_t bytes) const {
    if (left() < bytes)
      throw std::runtime_error(absl::StrCat("ends at byte ", frame_.size(), " of a header"));
  }
  static void Expect(bool right, const char* what) {
    if (!right) throw std::runtime_error(what);
  }
  uint8_t Get8(size_t i) const { return Need(i + 1), frame_[at_ + i]; }
  uint16_t Get16(size_t i) const { return static_cast<uint16_t>(Get8(i) << 8 | Get8(i + 1)); }
  void Skip(size_t bytes) { Need(bytes), at_ += bytes; }
  uint16_t Take16() {
    const uint16_t value = Get16(0);
    at_ += 2;
    return value;
  }
  absl::Span<const uint8_t> Rest() const { return absl::MakeConstSpan(frame_).subspan(at_); }

  JudgedFrame L3(uint16_t type) {
    if (type == kEthernet) return Ethernet();
    return type == kIpv4   ? Ipv4()
           : type == kIpv6 ? Ipv6()
                           : JudgedFrame{.complaint = "neither IPv4 nor IPv6"};
  }

  JudgedFrame Ipv4() {
    const size_t header = (Get8(0) & 15u) * 4;
    Expect(Get8(0) >> 4 == 4 && header >= 20, "no IPv4 header");
    Expect(Get16(2) == left(), "IPv4 total length");
    Expect((Get16(6) & 0x3fff) == 0, "an IP fragment");
    Need(header);
    Expect(SimpleChecksum(Rest().first(header)) == 0, "IPv4 header checksum");
    const uint8_t protocol = Get8(9);
    StartPseudo(12, 8, protocol, header);
    return L4(protocol);
  }

  JudgedFrame Ipv6() {
    Expect(Get8(0) >> 4 == 6, "no IPv6 header");
    Expect(Get16(4) + 40u == left(), "IPv6 payload length");
    const uint8_t protocol = Get8(6);
    StartPseudo(8, 32, protocol, 40);
    return L4(protocol);
  }

  // RFC 793, 3.1, and RFC 8200, 8.1, whose words add up alike; and goes on behind the IP header.
  void StartPseudo(size_t addresses, size_t bytes, uint8_t protocol, size_t header) {
    Need(header);
    pseudo_.assign(Rest().begin() + static_cast<ptrdiff_t>(addresses),
                   Rest().begin() + static_cast<ptrdiff_t>(addresses + bytes));
    at_ += header;
    for (const size_t value : {size_t{protocol}, left()}) {
      pseudo_.push_back(static_cast<uint8_t>(value >> 8));
      pseudo_.push_back(static_cast<uint8_t>(value));
    }
  }
  bool SumIsRight() const {
    Bytes covered = pseudo_;
    covered.insert(covered.end(), Rest().begin(), Rest().end());
    return SimpleChecksum(covered) == 0;
  }

  JudgedFrame L4(uint8_t protocol) {
    if (protocol == kTcp) return Tcp();
    if (protocol == kUdp) return Udp();
    return protocol == kGre ? Gre() : JudgedFrame{.complaint = "neither TCP, UDP nor GRE"};
  }

  JudgedFrame Tcp() {
    Expect(SumIsRight(), "TCP checksum");
    const auto sequence = static_cast<uint32_t>(Get16(4) << 16 | Get16(6));
    const size_t header = (Get8(12) >> 4) * 4u;
    Expect(header >= 20, "TCP header length");
    Skip(header);
    return {.tcp = true, .sequence = sequence, .payload = Bytes(Rest().begin(), Rest().end())};
  }

  JudgedFrame Udp() {
    Expect(Get16(4) == left(), "UDP length");
    Expect(Get16(6) == 0 || SumIsRight(), "UDP checksum");
    const uint16_t port = Get16(2);
    Skip(8);
    if (port == kVxlanPort) return Skip(8), Ethernet();
    if (port == kGenevePort) return Geneve();
    return {.payload = Bytes(Rest().begin(), Rest().end())};
  }

  JudgedFrame Geneve() {
    const size_t options = (Get8(0) & 63u) * 4;
    const uint16_t type = Get16(2);
    Skip(8 + options);
    return L3(type);
  }

  // RFC 2784, 2.1: a checksum covers all from the GRE header on.
  JudgedFrame Gre() {
    const bool summed = (Get8(0) & 0x80) != 0;
    Expect((Get16(0) & 0x7fff) == 0, "GRE fields that this judge does not know");
    Expect(!summed || SimpleChecksum(Rest()) == 0, "GRE checksum");
    const uint16_t type = Get16(2);
    Skip(summed ? 8 : 4);
    return L3(type);
  }

  const Bytes& frame_;
  size_t at_ = 0;
  Bytes pseudo_;
};

}  // namespace

JudgedFrame JudgeFrame(const Bytes& frame) {
  try {
    return Walk(frame).Ethernet();
  } catch (const std::runtime_error& wrong) {
    return {.complaint = wrong.what()};
  }
}

}  // namespace sluice::testing
