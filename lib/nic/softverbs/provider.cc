// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "nic/softverbs/private_library_internal.h"
#include "nic/softverbs/provider_internal.h"
#include "sluice/nic/software_verbs_config.h"

namespace sluice {
namespace {

using Configs = std::vector<SoftwareVerbsConfig>;

// None when the file cannot be used: whoever starts programs with one has read it before.
const Configs& ConfiguredDevices() {
  static const Configs* const configs = [] {
    const char* const path = std::getenv(kSoftwareVerbsVariable);
    absl::StatusOr<Configs> read = path == nullptr ? Configs() : ReadSoftwareVerbs(path);
    return new Configs(read.ok() ? *std::move(read) : Configs());
  }();
  return *configs;
}

const SoftwareVerbsConfig* Find(const std::string& name) {
  const Configs& configs = ConfiguredDevices();
  const auto found = std::find_if(configs.begin(), configs.end(),
                                  [&](const auto& config) { return config.options.name == name; });
  return found == configs.end() ? nullptr : &*found;
}

}  // namespace

bool IsConfigured(const std::string& name) { return Find(name) != nullptr; }

SoftHandle* NewHandle(const std::string& name) {
  auto* const handle = new SoftHandle();
  FillIn(*handle, name, Find(name)->options.mac);
  return handle;
}

std::shared_ptr<SoftDevice> MakeConfigured(const std::string& name) {
  const SoftwareVerbsConfig* const config = Find(name);
  if (config == nullptr) return nullptr;
  absl::StatusOr<std::unique_ptr<Wire>> wire = MakeSoftwareVerbsWire(*config);
  if (!wire.ok()) return nullptr;
  absl::StatusOr<std::shared_ptr<SoftDevice>> made = MakeSoftDevice(config->options, *std::move(wire));
  if (!made.ok()) return nullptr;
  const absl::Status listens = TakeOrders(**made);
  const bool by_another_process = absl::IsUnavailable(listens);
  return listens.ok() || by_another_process ? *std::move(made) : nullptr;
}

absl::Status RegisterSoftwareVerbs() {
  if (!PrivateLibrary::Get().ok()) return PrivateLibrary::Get().status();
  PrivateLibrary::Get()->register_driver(&kSoftDeviceOps);
  return absl::OkStatus();
}

// They live as long as the process: a program may hold on to them.
std::vector<ibv_device*> ConfiguredSoftwareVerbs() {
  static const auto* const devices = [] {
    auto* const made = new std::vector<ibv_device*>();
    if (!PrivateLibrary::Get().ok()) return made;
    for (const SoftwareVerbsConfig& config : ConfiguredDevices()) {
      made->push_back(&NewHandle(config.options.name)->device);
    }
    return made;
  }();
  return *devices;
}

}  // namespace sluice
