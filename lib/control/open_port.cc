// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/open_port.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sluice/base/status.h"
#include "sluice/nic/capture_nic.h"
#include "sluice/nic/copy_engine.h"
#include "sluice/nic/model_copy_engine.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/nic/shm_wire.h"
#include "sluice/nic/tap_wire.h"
#include "sluice/nic/verbs_nic.h"
#include "sluice/nic/vhost_nic.h"
#include "sluice/nic/xdp_nic.h"

namespace sluice {
namespace {

using NicOr = absl::StatusOr<std::unique_ptr<Nic>>;

// "kind:name,key=value,...", taken apart. Options are taken out as they are used; what is left over is refused.
class Spec {
 public:
  explicit Spec(absl::string_view text) : text_(text) {
    std::vector<absl::string_view> parts = absl::StrSplit(text, ',');
    const std::pair<absl::string_view, absl::string_view> head =
        absl::StrSplit(parts[0], absl::MaxSplits(':', 1));
    kind_ = std::string(head.first);
    name_ = std::string(head.second);
    for (size_t i = 1; i < parts.size(); ++i) {
      const std::pair<std::string, std::string> option = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
      options_.insert(option);
    }
  }

  const std::string& kind() const { return kind_; }
  const std::string& name() const { return name_; }

  std::string Take(const std::string& key, std::string otherwise) {
    const auto found = options_.find(key);
    if (found == options_.end()) return otherwise;
    std::string value = found->second;
    options_.erase(found);
    return value;
  }

  // The place of the value among `choices`; notes a value that is none of them.
  size_t Choose(const std::string& key, const std::vector<std::string>& choices, size_t otherwise) {
    const std::string value = Take(key, choices[otherwise]);
    for (size_t i = 0; i < choices.size(); ++i) {
      if (value == choices[i]) return i;
    }
    NoteWrong(absl::StrCat(key, "=", value), absl::StrCat("one of ", absl::StrJoin(choices, ", ")));
    return otherwise;
  }
  Want TakeWant(const std::string& key, Want otherwise) {
    return static_cast<Want>(Choose(key, {"off", "prefer", "require"}, static_cast<size_t>(otherwise)));
  }

  template <typename Number>
  Number TakeNumber(const std::string& key, Number otherwise) {
    const std::string value = Take(key, absl::StrCat(otherwise));
    Number number = otherwise;
    if (!Read(value, number)) NoteWrong(absl::StrCat(key, "=", value), "a number");
    return number;
  }

  MacAddress TakeAddress(const std::string& key, MacAddress otherwise) {
    const std::string value = Take(key, otherwise.ToString());
    const absl::StatusOr<MacAddress> address = MacAddress::Parse(value);
    if (!address.ok()) NoteWrong(absl::StrCat(key, "=", value), "an address as 02:00:00:00:00:01");
    return address.value_or(otherwise);
  }

  // What was wrong, or left over.
  absl::Status Check() const {
    if (!wrong_.ok()) return wrong_;
    if (name_.empty()) return Wrong(kind_ + ":", "a name behind the colon");
    if (options_.empty()) return absl::OkStatus();
    return Wrong(options_.begin()->first, absl::StrCat("an option that ", kind_, " has: see open_port.h"));
  }

  absl::Status Wrong(absl::string_view part, absl::string_view expected) const {
    return ErrorStatus(absl::StatusCode::kInvalidArgument,
                       {.device = absl::StrCat("port ", text_),
                        .stage = "read",
                        .what = absl::StrCat("\"", part, "\" is not understood"),
                        .remedy = absl::StrCat("give ", expected)});
  }

 private:
  static bool Read(const std::string& text, uint32_t& number) { return absl::SimpleAtoi(text, &number); }
  static bool Read(const std::string& text, double& number) { return absl::SimpleAtod(text, &number); }

  void NoteWrong(absl::string_view part, absl::string_view expected) {
    if (wrong_.ok()) wrong_ = Wrong(part, expected);
  }

  const std::string text_;
  std::string kind_;
  std::string name_;
  std::map<std::string, std::string> options_;
  absl::Status wrong_;
};

NicOr OpenXdp(Spec& spec) {
  XdpNicOptions options{.interface = spec.name()};
  options.native = spec.TakeWant("native", options.native);
  options.zero_copy = spec.TakeWant("zero-copy", options.zero_copy);
  options.busy_poll = spec.TakeWant("busy-poll", options.busy_poll);
  options.allow_default_route = spec.Choose("allow-default-route", {"no", "yes"}, 0) == 1;
  if (absl::Status checked = spec.Check(); !checked.ok()) return checked;
  return OpenXdpNic(options);
}

NicOr OpenVerbs(Spec& spec) {
  VerbsNicOptions options{.device = spec.name()};
  options.take = static_cast<VerbsTake>(spec.Choose("take", {"all", "own", "nothing"}, 0));
  options.mac = spec.TakeAddress("mac", options.mac);
  options.mtu = spec.TakeNumber("mtu", options.mtu);
  options.max_inline = spec.TakeNumber("inline", options.max_inline);
  options.marks = spec.Choose("marks", {"no", "yes"}, options.marks ? 1 : 0) == 1;
  options.extended_send = spec.TakeWant("extended", options.extended_send);
  options.direct_receive = spec.TakeWant("direct", options.direct_receive);
  options.compressed_completions = spec.TakeWant("compressed", options.compressed_completions);
  options.striding = spec.TakeWant("striding", options.striding);
  options.lro = spec.TakeWant("lro", options.lro);
  const uint32_t lag_port = spec.TakeNumber("lag-port", uint32_t{options.lag_port});
  options.lag_port = static_cast<uint8_t>(std::min(lag_port, 255u));  // more than any card has
  if (absl::Status checked = spec.Check(); !checked.ok()) return checked;
  return OpenVerbsNic(options);
}

// What can be had without hardware: to try what deferring does.
const CopyEngineFactory kCopyEngines[] = {
    nullptr,
    [](QueueId) { return MakeCpuCopyEngine(); },
    [](QueueId) { return ModelCopyEngine::Create({.capacity = 1024, .poisons = false}); },
};

NicOr OpenVhost(Spec& spec) {
  VhostNicOptions options{.path = spec.name()};
  options.role = spec.Choose("role", {"server", "client"}, 0) == 0 ? VhostRole::kServer : VhostRole::kClient;
  options.mtu = spec.TakeNumber("mtu", options.mtu);
  options.copy_up_to = spec.TakeNumber("copy-up-to", options.copy_up_to);
  options.checksums = spec.TakeWant("checksums", options.checksums);
  options.tso = spec.TakeWant("tso", options.tso);
  options.uso = spec.TakeWant("uso", options.uso);
  options.packed = spec.TakeWant("packed", options.packed);
  options.copies.engine = kCopyEngines[spec.Choose("copy-engine", {"off", "cpu", "model"}, 0)];
  if (absl::Status checked = spec.Check(); !checked.ok()) return checked;
  return OpenVhostNic(options);
}

NicOr OpenCapture(Spec& spec) {
  const CaptureNicOptions options{.name = spec.name(),
                                  .read_path = spec.name(),
                                  .speed = spec.TakeNumber("speed", 0.0),
                                  .loops = spec.TakeNumber("loops", uint32_t{1}),
                                  .write_path = spec.Take("out", "")};
  if (absl::Status checked = spec.Check(); !checked.ok()) return checked;
  return OpenCaptureNic(options);
}

absl::StatusOr<std::unique_ptr<Wire>> MakeTap(Spec& spec) {
  TapWireOptions options{.interface = spec.name(), .netns = spec.Take("netns", "")};
  options.checksums = spec.TakeWant("checksums", options.checksums);
  options.tso = spec.TakeWant("tso", options.tso);
  options.uso = spec.TakeWant("uso", options.uso);
  return MakeTapWire(options);
}

absl::StatusOr<std::unique_ptr<Wire>> MakeWire(Spec& spec) {
  if (spec.kind() == "packet") {
    return MakePacketSocketWire({.interface = spec.name(), .netns = spec.Take("netns", "")});
  }
  if (spec.kind() == "tap") return MakeTap(spec);
  if (spec.kind() == "shm") {
    const size_t role = spec.Choose("role", {"server", "client"}, 0);
    return MakeShmWire({.path = spec.name(), .role = role == 0 ? ShmRole::kServer : ShmRole::kClient});
  }
  if (spec.name() == "null") return MakeNullWire();
  if (spec.name() == "loop") return MakeLoopWire();
  return spec.Wrong(spec.name(), "null or loop");
}

NicOr OpenModel(Spec& spec) {
  absl::StatusOr<std::unique_ptr<Wire>> wire = MakeWire(spec);
  if (absl::Status checked = spec.Check(); !checked.ok()) return checked;
  if (!wire.ok()) return wire.status();
  // The Nic puts "model" before it.
  const std::string name = spec.kind() == "model" ? spec.name() : absl::StrCat(spec.kind(), " ", spec.name());
  return ModelNic::Open({.name = name}, *std::move(wire));
}

}  // namespace

NicOr OpenPort(absl::string_view text) {
  Spec spec(text);
  if (spec.kind() == "xdp") return OpenXdp(spec);
  if (spec.kind() == "rdma") return OpenVerbs(spec);
  if (spec.kind() == "vhost") return OpenVhost(spec);
  if (spec.kind() == "pcap") return OpenCapture(spec);
  for (const char* kind : {"packet", "tap", "shm", "model"}) {
    if (spec.kind() == kind) return OpenModel(spec);
  }
  return spec.Wrong(spec.kind(), "xdp:, rdma:, vhost:, packet:, tap:, shm:, pcap: or model: and a name");
}

}  // namespace sluice
