// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tshark.h"

#include <cstdlib>
#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/support/process.h"
#include "tests/support/skip.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kErrorSeverity = 0x800000;  // PI_ERROR of Wireshark

// The value of an XML attribute in a line of PDML; empty when it is not there.
std::string Attribute(absl::string_view line, absl::string_view name) {
  const std::string start = absl::StrCat(" ", name, "=\"");
  const size_t at = line.find(start);
  if (at == absl::string_view::npos) return "";
  const absl::string_view rest = line.substr(at + start.size());
  return std::string(rest.substr(0, rest.find('"')));
}

uint32_t Number(absl::string_view line, absl::string_view name) {
  uint32_t value = 0;
  return absl::SimpleAtoi(Attribute(line, name), &value) ? value : 0;
}

TsharkChecksum ChecksumOf(absl::string_view line) {
  switch (Number(line, "show")) {
    case 0:
      return TsharkChecksum::kBad;
    case 1:
      return TsharkChecksum::kGood;
    case 2:
      return TsharkChecksum::kUnverified;
    case 3:
      return TsharkChecksum::kNotPresent;
    default:
      return TsharkChecksum::kIllegal;
  }
}

void AddLine(absl::string_view line, std::vector<DissectedFrame>& frames) {
  if (line == "<packet>") frames.emplace_back();
  if (frames.empty()) return;
  DissectedFrame& frame = frames.back();
  const std::string name = Attribute(line, "name");
  // Two spaces: not inside another protocol, as the packet that an ICMP error quotes is.
  if (line.substr(0, 8) == "  <proto") {
    frame.layers.push_back({.name = name, .position = Number(line, "pos"), .size = Number(line, "size")});
  } else if (name == "_ws.expert.severity") {
    frame.error |= Number(line, "show") == kErrorSeverity;
  } else if (name == "frame.interface_name") {
    frame.interface = Attribute(line, "show");
  } else if (name == "frame.comment") {
    frame.comment = Attribute(line, "show");
  } else if (!frame.layers.empty() && name == frame.layers.back().name + ".checksum.status") {
    frame.layers.back().checksum = ChecksumOf(line);
  }
}

}  // namespace

std::vector<DissectedFrame> Dissect(const std::string& path, int most) {
  if (!RunCommand("command -v tshark").ok()) SkipTest("needs tshark: install tshark");
  const CommandResult result = RunCommand(
      absl::StrCat(
          "tshark -n -r '", path, "' -c ", most,
          " -T pdml -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE"
          " -o ip.defragment:FALSE -o ipv6.defragment:FALSE -o tcp.desegment_tcp_streams:FALSE 2>/dev/null"),
      nullptr, absl::Minutes(2));
  // Of a file cut in half tshark shows what is whole, and says so in its status.
  if (result.status == kTimedOut || result.output.find("<pdml") == std::string::npos) {
    throw std::runtime_error("tshark cannot read " + path);
  }
  std::vector<DissectedFrame> frames;
  for (const absl::string_view line : absl::StrSplit(result.output, '\n')) AddLine(line, frames);
  return frames;
}

}  // namespace sluice::testing
