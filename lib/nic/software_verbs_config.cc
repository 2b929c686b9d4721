// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/software_verbs_config.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "nic/software_verbs_faults_internal.h"
#include "sluice/base/status.h"
#include "sluice/nic/capture_wire.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/nic/shm_wire.h"
#include "sluice/nic/tap_wire.h"

namespace sluice {
namespace {

using Words = std::vector<std::string>;

// Wires by their first word: how many words they take, and what the last of them may be.
struct WireForm {
  const char* form;
  size_t words;
};
const std::map<std::string, WireForm> kWires = {
    {"null", {"null", 1}},
    {"loop", {"loop", 1}},
    {"pair", {"pair NAME", 2}},
    {"shm", {"shm PATH server | client", 3}},
    {"packet", {"packet IFNAME", 2}},
    {"tap", {"tap IFNAME", 2}},
    {"pcap", {"pcap IN|- OUT|-", 3}},
};

// A text, line by line, into devices.
class Reader {
 public:
  explicit Reader(absl::string_view name) : name_(name) {}

  absl::Status Read(absl::string_view text) {
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      ++line_;
      const absl::string_view said = line.substr(0, line.find('#'));
      const Words words = absl::StrSplit(said, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
      if (words.empty()) continue;
      if (absl::Status read = ReadLine(words); !read.ok()) return read;
    }
    return devices_.empty() ? Wrong("there is no device", "begin one with: device soft0") : absl::OkStatus();
  }
  std::vector<SoftwareVerbsConfig> Take() { return std::move(devices_); }

 private:
  absl::Status ReadLine(const Words& words);
  absl::Status BeginDevice(const Words& words);
  absl::Status Set(const Words& words);
  absl::Status SetWire(const Words& words);
  absl::Status AddFault(const Words& words);
  absl::Status SetMac(const std::string& value);
  absl::Status SetNumber(const Words& words);
  absl::Status SetChoice(const Words& words);

  absl::Status Wrong(absl::string_view what, absl::string_view remedy) const {
    return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = absl::StrCat(name_, ":", line_),
                                                            .stage = "read",
                                                            .what = std::string(what),
                                                            .remedy = std::string(remedy)});
  }
  absl::Status NotUnderstood(const Words& words, absl::string_view remedy) const {
    return Wrong(absl::StrCat("\"", absl::StrJoin(words, " "), "\" is not understood"), remedy);
  }

  const std::string name_;
  size_t line_ = 0;
  std::vector<SoftwareVerbsConfig> devices_;
};

absl::Status Reader::ReadLine(const Words& words) {
  if (words[0] == "device") return BeginDevice(words);
  if (devices_.empty()) return NotUnderstood(words, "begin with a device: device soft0");
  if (words[0] == "wire") return SetWire(words);
  if (words[0] == "fault") return AddFault(words);
  if (words.size() != 2) return NotUnderstood(words, "give one setting and its value a line");
  return Set(words);
}

absl::Status Reader::BeginDevice(const Words& words) {
  if (words.size() != 2) return NotUnderstood(words, "give a name: device soft0");
  const bool taken = std::any_of(devices_.begin(), devices_.end(),
                                 [&](const auto& device) { return device.options.name == words[1]; });
  if (taken) return Wrong(absl::StrCat("there is a device ", words[1], " already"), "give another name");
  const auto number = static_cast<uint8_t>(devices_.size() + 1);
  devices_.push_back({.options = {.name = words[1], .mac = MacAddress({0x02, 0, 0, 0, 0, number})}});
  return absl::OkStatus();
}

absl::Status Reader::Set(const Words& words) {
  if (words[0] == "mac") return SetMac(words[1]);
  if (words[0] == "mtu" || words[0] == "patience") return SetNumber(words);
  if (words[0] == "profile" || words[0] == "loopback") return SetChoice(words);
  if (words[0] != "control")
    return NotUnderstood(words, "give device, mac, mtu, profile, patience, loopback, wire, fault or control");
  devices_.back().options.control = words[1];
  return absl::OkStatus();
}

absl::Status Reader::AddFault(const Words& words) {
  const bool read = ReadFault(Words(words.begin() + 1, words.end()), devices_.back().options.faults);
  return read ? absl::OkStatus() : NotUnderstood(words, absl::StrCat("give ", kFaultForms));
}

absl::Status Reader::SetMac(const std::string& value) {
  const absl::StatusOr<MacAddress> mac = MacAddress::Parse(value);
  if (!mac.ok()) return Wrong(absl::StrCat("\"", value, "\" is no address"), "give one as 02:00:00:00:00:30");
  devices_.back().options.mac = *mac;
  return absl::OkStatus();
}

absl::Status Reader::SetNumber(const Words& words) {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(words[1], &number)) return NotUnderstood(words, "give a number");
  SoftwareVerbsOptions& options = devices_.back().options;
  if (words[0] == "mtu") options.mtu = number;
  if (words[0] == "patience") options.patience = absl::Milliseconds(number);
  return absl::OkStatus();
}

absl::Status Reader::SetChoice(const Words& words) {
  SoftwareVerbsOptions& options = devices_.back().options;
  const bool profile = words[0] == "profile";
  const Words choices = profile ? Words{"good", "poor"} : Words{"yes", "no"};
  const bool first = words[1] == choices[0];
  if (!first && words[1] != choices[1])
    return NotUnderstood(words, absl::StrCat("give ", absl::StrJoin(choices, " or ")));
  if (!profile) options.multicast_loopback = first;
  if (profile) options.hardware = first ? SoftwareVerbsHardware() : SoftwareVerbsHardware::Poor();
  return absl::OkStatus();
}

absl::Status Reader::SetWire(const Words& words) {
  const auto found = words.size() > 1 ? kWires.find(words[1]) : kWires.end();
  if (found == kWires.end())
    return NotUnderstood(words, "give wire null, loop, pair, shm, packet, tap or pcap");
  const Words wire(words.begin() + 1, words.end());
  const bool role = wire[0] != "shm" || wire.back() == "server" || wire.back() == "client";
  if (wire.size() != found->second.words || !role)
    return NotUnderstood(words, absl::StrCat("give wire ", found->second.form));
  devices_.back().wire = wire;
  return absl::OkStatus();
}

// What was sent over a pair arrives as it would over a cable, finished.
std::unique_ptr<Wire> TakePairEnd(const std::string& name) {
  static std::mutex gate;
  static auto* const other_ends = new std::map<std::string, std::unique_ptr<Wire>>();
  const std::lock_guard lock(gate);
  auto& waiting = (*other_ends)[name];
  if (waiting != nullptr) return std::move(waiting);
  auto [here, there] = MakeWirePair({.name = name, .carries_offloads = false, .carries_fragments = false});
  waiting = std::move(there);
  return std::move(here);
}

CaptureWireOptions CaptureFrom(const Words& wire) {
  const auto path = [](const std::string& word) { return word == "-" ? "" : word; };
  const bool ng = absl::EndsWith(wire[2], ".pcapng");
  return {.read_path = path(wire[1]),
          .write_path = path(wire[2]),
          .write_format = ng ? CaptureFormat::kPcapng : CaptureFormat::kPcapNanoseconds};
}

}  // namespace

absl::StatusOr<std::vector<SoftwareVerbsConfig>> ParseSoftwareVerbs(absl::string_view name,
                                                                    absl::string_view text) {
  Reader reader(name);
  if (absl::Status read = reader.Read(text); !read.ok()) return read;
  return reader.Take();
}

absl::StatusOr<std::vector<SoftwareVerbsConfig>> ReadSoftwareVerbs(const std::string& path) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file.good()) {
    return ErrorStatus({.device = path,
                        .stage = "read",
                        .error_number = errno,
                        .remedy = "give the path of a file with devices: see software_verbs_config.h"});
  }
  return ParseSoftwareVerbs(path, text);
}

absl::StatusOr<std::unique_ptr<Wire>> MakeSoftwareVerbsWire(const SoftwareVerbsConfig& config) {
  const Words& wire = config.wire;
  if (wire[0] == "loop") return MakeLoopWire({.name = "loop", .carries_offloads = false});
  if (wire[0] == "pair") return TakePairEnd(wire[1]);
  if (wire[0] == "shm") {
    const ShmRole role = wire[2] == "server" ? ShmRole::kServer : ShmRole::kClient;
    return MakeShmWire({.path = wire[1], .role = role, .retry = absl::Milliseconds(10)});
  }
  if (wire[0] == "pcap") return MakeCaptureWire(CaptureFrom(wire));
  const uint32_t max_frame = config.options.mtu + 18;  // with a tag
  if (wire[0] == "packet") return MakePacketSocketWire({.interface = wire[1], .max_frame = max_frame});
  if (wire[0] == "tap") {
    return MakeTapWire({.interface = wire[1],
                        .max_frame = max_frame,
                        .checksums = Want::kOff,
                        .tso = Want::kOff,
                        .uso = Want::kOff});
  }
  return MakeNullWire({.source = false});
}

std::array<uint8_t, 16> SoftwareVerbsGid(const MacAddress& mac) {
  const std::array<uint8_t, 6>& from = mac.bytes();
  return {0xfe,    0x80,    0,    0,    0,       0,       0,      0, static_cast<uint8_t>(from[0] ^ 2),
          from[1], from[2], 0xff, 0xfe, from[3], from[4], from[5]};
}

}  // namespace sluice
