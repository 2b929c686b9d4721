// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VERBS_PAIR_H_
#define SLUICE_TESTS_NIC_VERBS_PAIR_H_

// Two verbs ports, each on a software verbs device in this process, back to back.

#include <infiniband/verbs.h>

#include <memory>
#include <stdexcept>
#include <utility>

#include "sluice/nic/pair_wire.h"
#include "sluice/nic/software_verbs.h"
#include "sluice/nic/verbs_nic.h"
#include "tests/nic/conformance.h"

namespace sluice::testing {

// A software device and the context that libibverbs opened on it.
class SoftContext {
 public:
  SoftContext(const SoftwareVerbsOptions& options, std::unique_ptr<Wire> wire) {
    auto made = SoftwareVerbs::Create(options, std::move(wire));
    if (!made.ok()) throw std::runtime_error(made.status().ToString());
    device_ = *std::move(made);
    context_ = ibv_open_device(device_->device());
    if (context_ == nullptr) throw std::runtime_error("ibv_open_device");
  }
  ~SoftContext() { ibv_close_device(context_); }
  SoftContext(const SoftContext&) = delete;
  SoftContext& operator=(const SoftContext&) = delete;

  ibv_context* context() { return context_; }
  SoftwareVerbs& device() { return *device_; }

 private:
  std::unique_ptr<SoftwareVerbs> device_;
  ibv_context* context_ = nullptr;
};

inline std::unique_ptr<VerbsNic> OpenOn(SoftContext& soft, VerbsNicOptions options) {
  options.context = soft.context();
  auto nic = OpenVerbsNic(options);
  if (!nic.ok()) throw std::runtime_error(nic.status().ToString());
  return *std::move(nic);
}

inline Rig VerbsRig(SoftwareVerbsOptions soft = {}, VerbsNicOptions options = {}) {
  auto [here, there] = MakeWirePair();
  Rig rig;
  const auto around =
      std::make_shared<std::pair<std::unique_ptr<SoftContext>, std::unique_ptr<SoftContext>>>();
  soft.name = "soft0";
  around->first = std::make_unique<SoftContext>(soft, std::move(here));
  soft.name = "soft1";
  around->second = std::make_unique<SoftContext>(soft, std::move(there));
  options.device = "soft0";
  options.mac = MacAddress({2, 0, 0, 0, 0, 1});
  rig.a = OpenOn(*around->first, options);
  options.device = "soft1";
  options.mac = MacAddress({2, 0, 0, 0, 0, 2});
  rig.b = OpenOn(*around->second, options);
  rig.around = around;
  return rig;
}

inline Subject VerbsSubject(const SoftwareVerbsOptions& soft = {}, const VerbsNicOptions& options = {}) {
  return {.open = [soft, options] { return VerbsRig(soft, options); },
          .link_follows = false,  // the software device looks at its cable only while it is polled
          .sleeps = VerbsRig(soft, options).a->capabilities().sleeps,
          .restarts = kSlowRestarts};  // each waits for frames that no peer takes
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VERBS_PAIR_H_
