// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/text_file_internal.h"
#include "nic/verbs/device_internal.h"
#include "sluice/base/status.h"
#include "sluice/base/topology.h"

namespace sluice {
namespace {

constexpr uint32_t kUsualMtu = 1500;

// The device and port that a text names.
struct Named {
  std::string device;
  uint8_t port = 1;
};

absl::StatusOr<Named> ReadName(const std::string& name, absl::string_view text) {
  absl::ConsumePrefix(&text, "rdma:");
  Named named;
  const size_t slash = text.find('/');
  named.device = std::string(text.substr(0, slash));
  if (slash == absl::string_view::npos) return named;
  uint32_t port = 0;
  if (absl::SimpleAtoi(text.substr(slash + 1), &port) && port >= 1 && port <= 255) {
    named.port = static_cast<uint8_t>(port);
    return named;
  }
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.device = name,
                      .stage = "open",
                      .what = absl::StrCat("no port \"", text.substr(slash + 1), "\""),
                      .remedy = "write the device and the number of its port, as rdma:mlx5_0/1"});
}

// The kernel's interface on a port: "/sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0" has its name.
std::string InterfaceOf(const Named& named) {
  const std::string path =
      absl::StrCat("/sys/class/infiniband/", named.device, "/ports/", named.port, "/gid_attrs/ndevs/0");
  return ReadTextFile(path).value_or("");
}

// And the other way; an empty device when there is none.
Named DeviceOn(const std::string& interface) {
  Named named;
  std::error_code error;
  const std::filesystem::path folder = "/sys/class/net/" + interface + "/device/infiniband";
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    named.device = entry.path().filename();
  }
  uint32_t place = 0;
  if (absl::SimpleAtoi(ReadTextFile("/sys/class/net/" + interface + "/dev_port").value_or("0"), &place)) {
    named.port = static_cast<uint8_t>(place + 1);
  }
  return named;
}

// All devices of the system, as long as it lives.
class DeviceList {
 public:
  DeviceList() : devices_(ibv_get_device_list(&count_)) {}
  ~DeviceList() {
    if (devices_ != nullptr) ibv_free_device_list(devices_);
  }
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;

  ibv_device* Find(const std::string& name) const {
    for (int i = 0; i < count_; ++i) {
      if (name == ibv_get_device_name(devices_[i])) return devices_[i];
    }
    return nullptr;
  }
  std::string Names() const {
    std::vector<std::string> names;
    for (int i = 0; i < count_; ++i) names.emplace_back(ibv_get_device_name(devices_[i]));
    return names.empty() ? "there is none" : absl::StrCat("there are ", absl::StrJoin(names, ", "));
  }

 private:
  int count_ = 0;
  ibv_device** devices_;
};

VerbsNicOptions WithWhatLroTakes(VerbsNicOptions options) {
  for (Want* const taken : {&options.direct_receive, &options.striding}) {
    if (*taken == Want::kOff) *taken = Want::kPrefer;
  }
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerbsPort>> VerbsPort::Open(const VerbsNicOptions& options,
                                                           const std::string& mlx5) {
  std::string_view text = options.device;
  if (text.starts_with("rdma:")) text.remove_prefix(5);
  std::unique_ptr<VerbsPort> device(new VerbsPort(absl::StrCat("verbs ", std::string(text))));
  if (absl::Status found = device->Find(options); !found.ok()) return found;
  if (absl::Status asked = device->Ask(options, mlx5); !asked.ok()) return asked;
  return device;
}

absl::Status VerbsPort::Failed(int error, const char* stage, const char* capability, std::string what,
                               std::string remedy) const {
  return ErrorStatus({.device = name_,
                      .stage = stage,
                      .capability = capability,
                      .error_number = error,
                      .what = std::move(what),
                      .remedy = std::move(remedy)});
}

absl::Status VerbsPort::Find(const VerbsNicOptions& options) {
  absl::StatusOr<Named> named = ReadName(name_, options.device);
  if (!named.ok()) return named.status();
  context_ = options.context;
  if (context_ == nullptr) {
    const DeviceList list;
    ibv_device* device = list.Find(named->device);
    if (device == nullptr) {
      *named = DeviceOn(named->device);
      device = list.Find(named->device);
    }
    if (device == nullptr) {
      return Failed(ENODEV, "open", "", absl::StrCat("no such RDMA device; ", list.Names()),
                    "name one that `ibv_devices` shows, or the interface on it");
    }
    opened_.reset(ibv_open_device(device));
    if (opened_ == nullptr) {
      return Failed(errno, "open", "", "the device does not open",
                    "see whether /dev/infiniband/uverbs* may be opened");
    }
    context_ = opened_.get();
  }
  port_ = named->port;
  const std::string interface = InterfaceOf(*named);
  mac_ = options.mac;
  mtu_ = options.mtu;
  if (!interface.empty()) {
    const std::string folder = "/sys/class/net/" + interface;
    if (mac_.is_zero())
      mac_ = MacAddress::Parse(ReadTextFile(folder + "/address").value_or("")).value_or(mac_);
    if (mtu_ == 0) (void)absl::SimpleAtoi(ReadTextFile(folder + "/mtu").value_or(""), &mtu_);
    node_ = NodeOfInterface(interface).value_or(kUnknownNode);
  }
  if (mtu_ == 0) mtu_ = kUsualMtu;
  return absl::OkStatus();
}

absl::Status VerbsPort::CheckPort() const {
  ibv_port_attr port{};
  if (const int error = ibv_query_port(context_, port_, &port); error != 0) {
    return Failed(error, "open", "", absl::StrCat("no port ", port_), "see `ibv_devinfo` for its ports");
  }
  if (port.link_layer == IBV_LINK_LAYER_ETHERNET) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kFailedPrecondition,
                     {.device = name_,
                      .stage = "open",
                      .capability = "Ethernet",
                      .what = "the port is no Ethernet port",
                      .remedy = "set its link type to Ethernet (mlxconfig LINK_TYPE_P1=2), or use another"});
}

absl::Status VerbsPort::CheckWanted(const VerbsNicOptions& options) const {
  const auto lacks = [this](const char* capability, const char* remedy) {
    return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = name_,
                                                          .stage = "open",
                                                          .capability = capability,
                                                          .what = "the device has none",
                                                          .remedy = remedy});
  };
  if (options.keep_fcs && !keeps_fcs_) return lacks("frame check sequences", "set keep_fcs=false");
  if (options.segmentation == Want::kRequire && max_segmented_ == 0) {
    return lacks("segmentation", "set segmentation=kPrefer: it is then done in software");
  }
  if (options.extended_send == Want::kRequire && !extended_send()) {
    return lacks("extended send calls", "set extended_send=kPrefer");
  }
  if (absl::Status direct = CheckDirect(options); !direct.ok()) return direct;
  return options.lag_port == 0 ? absl::OkStatus() : CheckLagPort(options.lag_port);
}

absl::Status VerbsPort::CheckDirect(const VerbsNicOptions& options) const {
  const auto refuse = [this](const char* capability, std::string missing, const char* remedy) {
    return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = name_,
                                                          .stage = "open",
                                                          .capability = capability,
                                                          .what = std::move(missing),
                                                          .remedy = remedy});
  };
  if (std::string missing = NoDirect(options); options.direct_receive == Want::kRequire && !missing.empty()) {
    return refuse("direct receive", std::move(missing), "set direct_receive=kPrefer");
  }
  if (std::string missing = NoCompression(options);
      options.compressed_completions == Want::kRequire && !missing.empty()) {
    return refuse("compressed completions", std::move(missing), "set compressed_completions=kPrefer");
  }
  if (std::string missing = NoStriding(options); options.striding == Want::kRequire && !missing.empty()) {
    return refuse("striding receive queues", std::move(missing), "set striding=kPrefer");
  }
  if (std::string missing = NoLro(options); options.lro == Want::kRequire && !missing.empty()) {
    return refuse("LRO", std::move(missing), "set lro=kPrefer");
  }
  return absl::OkStatus();
}

std::string VerbsPort::NoDirect(const VerbsNicOptions& options) const {
  if (options.direct_receive == Want::kOff) return "direct_receive is off";
  if (!mlx5_->direct_missing().empty()) return mlx5_->direct_missing();
  return spreads() ? no_direct_ : "the device has no work queues that frames are spread over";
}

// One stamp for a whole block would be that of its first frame, and so with what was joined.
std::string VerbsPort::NoCompression(const VerbsNicOptions& options) const {
  if (std::string missing = NoDirect(options); !missing.empty()) return missing;
  if (NoLro(options).empty()) return "what LRO joined is told in whole completions";
  if (options.stamp && (told() & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP) != 0) {
    return "the card's stamps are one for a whole block";
  }
  return mlx5_->compression_missing();
}

absl::Status VerbsPort::CheckLagPort(uint8_t port) const {
  const uint8_t ports = mlx5_->lag_ports();
  if (ports >= port) return absl::OkStatus();
  const bool none = ports == 0;
  return ErrorStatus(none ? absl::StatusCode::kUnimplemented : absl::StatusCode::kInvalidArgument,
                     {.device = name_,
                      .stage = "open",
                      .capability = "lag ports",
                      .what = none ? mlx5_->lag_missing() : absl::StrCat("no port ", port, " of the bond"),
                      .remedy = none ? "set lag_port=0" : absl::StrCat("use 1 to ", ports)});
}

absl::Status VerbsPort::Ask(const VerbsNicOptions& options, const std::string& mlx5) {
  if (absl::Status port = CheckPort(); !port.ok()) return port;
  ibv_device_attr_ex attr;
  std::memset(&attr, 0, sizeof(attr));  // what is between the fields, too: TrialKey
  if (const int error = ibv_query_device_ex(context_, nullptr, &attr); error != 0) {
    return Failed(error, "open", "", "the device does not say what it can",
                  "see whether `ibv_devinfo -v` works");
  }
  domain_.reset(ibv_alloc_pd(context_));
  if (domain_ == nullptr)
    return Failed(errno, "open", "", "no protection domain", "close other RDMA programs");
  mlx5_.emplace(*context_, mlx5);
  Describe(attr);
  if (absl::Status tried = Try(attr); !tried.ok()) return tried;
  DescribeSpread(attr);
  if (NoLro(options).empty()) no_lro_ = ReasonOf(TryLro());
  const VerbsNicOptions all = With(options);
  if (NoDirect(all).empty()) no_direct_ = TryDirect(all);
  able_.coalescing = NoLro(all).empty();
  DescribeMlx5(all);
  return CheckWanted(all);
}

std::string VerbsPort::NoStriding(const VerbsNicOptions& options) const {
  std::string missing = NoDirect(options);
  return missing.empty() ? mlx5_->striding_missing() : missing;
}

std::string VerbsPort::NoLro(const VerbsNicOptions& options) const {
  if (options.lro == Want::kOff) return "lro is off";
  if (std::string missing = NoStriding(WithWhatLroTakes(options)); !missing.empty()) return missing;
  if (options.keep_fcs) return "frame check sequences are kept";
  return mlx5_->lro_missing().empty() ? no_lro_ : mlx5_->lro_missing();
}

VerbsNicOptions VerbsPort::With(const VerbsNicOptions& options) const {
  return NoLro(options).empty() ? WithWhatLroTakes(options) : options;
}

// What is there, and of what the options choose, whether it is used.
void VerbsPort::DescribeMlx5(const VerbsNicOptions& options) {
  const auto use = [](Want want, const std::string& missing) {
    if (want == Want::kOff) return std::string("; not asked for");
    return missing.empty() ? std::string("; used") : absl::StrCat("; not used: ", missing);
  };
  for (VerbsCapability one : mlx5_->described()) {
    if (one.found && one.name == "direct receive")
      absl::StrAppend(&one.detail, use(options.direct_receive, NoDirect(options)));
    if (one.found && one.name == "compressed completions")
      absl::StrAppend(&one.detail, use(options.compressed_completions, NoCompression(options)));
    if (one.found && one.name == "striding receive queues")
      absl::StrAppend(&one.detail, use(options.striding, NoStriding(options)));
    if (one.found && one.name == "LRO") absl::StrAppend(&one.detail, use(options.lro, NoLro(options)));
    described_.push_back(std::move(one));
  }
}

LinkState VerbsPort::Link() const {
  ibv_port_attr port{};
  const bool up = ibv_query_port(context_, port_, &port) == 0 && port.state == IBV_PORT_ACTIVE;
  return up ? LinkState::kUp : LinkState::kDown;
}

}  // namespace sluice
