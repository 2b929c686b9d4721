// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/software_verbs.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/softverbs/private_library_internal.h"
#include "nic/softverbs/provider_internal.h"
#include "nic/softverbs/verbs_objects_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr MacAddress kUsualMac({0x02, 0, 0, 0, 0, 0x01});

absl::Status Check(const SoftwareVerbsOptions& options) {
  const auto refuse = [&](absl::string_view what, absl::string_view remedy) {
    return ErrorStatus(absl::StatusCode::kInvalidArgument,
                       {.device = absl::StrCat("software verbs ", options.name),
                        .stage = "open",
                        .what = std::string(what),
                        .remedy = std::string(remedy)});
  };
  const size_t longest = sizeof(ibv_device::name) - 1;
  const bool plain = std::all_of(options.name.begin(), options.name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (options.name.empty() || options.name.size() > longest || !plain) {
    return refuse("a name that no device can have",
                  absl::StrCat("give 1 to ", longest, " letters, digits, - and _"));
  }
  if (options.mtu < 256 || options.mtu > 65000) return refuse("an MTU out of range", "give 256 to 65000");
  if (options.mac.is_multicast()) return refuse("a multicast address", "give one whose first byte is even");
  if (options.patience < absl::ZeroDuration()) return refuse("a negative patience", "give 0 or more");
  return absl::OkStatus();
}

class OpenedSoftwareVerbs final : public SoftwareVerbs {
 public:
  explicit OpenedSoftwareVerbs(std::shared_ptr<SoftDevice> model) {
    FillIn(handle_, model->options.name, model->options.mac);
    handle_.model = std::move(model);
  }

  ibv_device* device() override { return &handle_.device; }
  void PlugCable(bool plugged) override {
    const std::lock_guard lock(handle_.model->gate);
    handle_.model->PlugCable(plugged);
  }
  void SetFaults(const SoftwareVerbsFaults& faults) override {
    const std::lock_guard lock(handle_.model->gate);
    handle_.model->SetFaults(faults);
  }
  size_t FailQueue(uint32_t number) override {
    const std::lock_guard lock(handle_.model->gate);
    return handle_.model->FailQueue(number);
  }
  size_t FailQueues() override {
    const std::lock_guard lock(handle_.model->gate);
    return handle_.model->FailQueues();
  }
  bool OverrunCompletions(uint32_t handle) override {
    const std::lock_guard lock(handle_.model->gate);
    return handle_.model->OverrunCompletions(handle);
  }
  void Remove() override {
    const std::lock_guard lock(handle_.model->gate);
    handle_.model->Remove();
  }
  SoftwareVerbsStats stats() const override {
    const std::lock_guard lock(handle_.model->gate);
    return handle_.model->port.stats();
  }

 private:
  SoftHandle handle_{};
};

}  // namespace

void FillIn(SoftHandle& handle, const std::string& name, const MacAddress& mac) {
  handle.ops = &kSoftDeviceOps;
  handle.refcount = 1;
  handle.mac = mac;
  handle.device.node_type = IBV_NODE_CA;
  handle.device.transport_type = IBV_TRANSPORT_IB;
  std::strcpy(handle.device.name, name.c_str());
  std::strcpy(handle.device.dev_name, name.c_str());
}

absl::StatusOr<std::shared_ptr<SoftDevice>> MakeSoftDevice(const SoftwareVerbsOptions& options,
                                                           std::unique_ptr<Wire> wire) {
  if (absl::Status checked = Check(options); !checked.ok()) return checked;
  if (!PrivateLibrary::Get().ok()) return PrivateLibrary::Get().status();
  SoftwareVerbsOptions complete = options;
  if (complete.mac.is_zero()) complete.mac = kUsualMac;
  return std::make_shared<SoftDevice>(complete, std::move(wire));
}

absl::Status TakeOrders(SoftDevice& device) {
  const std::string& path = device.options.control;
  return path.empty() ? absl::OkStatus() : device.service.Listen(path);
}

absl::StatusOr<std::unique_ptr<SoftwareVerbs>> SoftwareVerbs::Create(const SoftwareVerbsOptions& options,
                                                                     std::unique_ptr<Wire> wire) {
  absl::StatusOr<std::shared_ptr<SoftDevice>> model = MakeSoftDevice(options, std::move(wire));
  if (!model.ok()) return model.status();
  if (absl::Status listens = TakeOrders(**model); !listens.ok()) return listens;
  return std::make_unique<OpenedSoftwareVerbs>(*std::move(model));
}

}  // namespace sluice
