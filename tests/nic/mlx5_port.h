// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_PORT_H_
#define SLUICE_TESTS_NIC_MLX5_PORT_H_

// Verbs ports of what stands in for an mlx5 card and for its library.

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "nic/verbs/verbs_nic_internal.h"
#include "tests/nic/mlx5/stand_in.h"
#include "tests/nic/verbs_pair.h"

namespace sluice::testing {

// Loaded as libibverbs would have loaded it; by default with all that is asked for.
class Mlx5Library {
 public:
  explicit Mlx5Library(const char* path = SLUICE_MLX5_STAND_IN)
      : path_(path), library_(dlopen(path, RTLD_NOW)) {
    REQUIRE(library_ != nullptr);
    self_ = reinterpret_cast<decltype(&mlx5_stand_in)>(dlsym(library_, "mlx5_stand_in"))();
    *self_ = {};
    pump_ = Find<decltype(mlx5_card_pump)>("mlx5_card_pump");
    run_ = Find<decltype(mlx5_card_run)>("mlx5_card_run");
    rest_ = Find<decltype(mlx5_card_rest)>("mlx5_card_rest");
    self_->tells.cqe_comp_caps = {.max_num = 64, .supported_format = MLX5DV_CQE_RES_FORMAT_HASH};
    self_->tells.striding_rq_caps = {.min_single_stride_log_num_of_bytes = 6,
                                     .max_single_stride_log_num_of_bytes = 13,
                                     .min_single_wqe_log_num_of_strides = 9,
                                     .max_single_wqe_log_num_of_strides = 16,
                                     .supported_qpts = 1u << IBV_QPT_RAW_PACKET};
    self_->tells.tunnel_offloads_caps = MLX5DV_RAW_PACKET_CAP_TUNNELED_OFFLOAD_VXLAN;
    self_->tells.num_lag_ports = 2;
  }
  ~Mlx5Library() {
    rest_();
    dlclose(library_);
  }
  Mlx5Library(const Mlx5Library&) = delete;
  Mlx5Library& operator=(const Mlx5Library&) = delete;

  Mlx5StandIn* operator->() { return self_; }
  const char* path() const { return path_; }

  // The card looks at its rings once, or by itself from now on.
  void Pump() { pump_(); }
  void Run() { run_(); }

 private:
  template <typename Call>
  Call* Find(const char* name) {
    return reinterpret_cast<Call*>(dlsym(library_, name));
  }

  const char* const path_;
  void* const library_;
  Mlx5StandIn* self_;
  decltype(mlx5_card_pump)* pump_ = nullptr;
  decltype(mlx5_card_run)* run_ = nullptr;
  decltype(mlx5_card_rest)* rest_ = nullptr;
};

// A software device, whose ports take the library of that name for the provider of mlx5 cards.
class Mlx5Device {
 public:
  explicit Mlx5Device(const char* library, const SoftwareVerbsOptions& soft = {},
                      std::unique_ptr<Wire> wire = MakeNullWire())
      : library_(library), soft_(soft, std::move(wire)) {}

  absl::StatusOr<std::unique_ptr<VerbsPort>> Open(VerbsNicOptions options = {}) {
    options.device = "soft0";
    options.context = soft_.context();
    return VerbsPort::Open(options, library_);
  }
  std::unique_ptr<VerbsNicImpl> OpenNic(const VerbsNicOptions& options) {
    auto port = Open(options);
    REQUIRE(port.ok());
    return std::make_unique<VerbsNicImpl>(options, *std::move(port));
  }
  absl::Status RefusalOf(uint8_t lag_port) { return Open({.lag_port = lag_port}).status(); }
  // What a port tells of it.
  VerbsCapability Told(const std::string& name, const VerbsNicOptions& options = {}) {
    const auto port = Open(options);
    REQUIRE(port.ok());
    for (const VerbsCapability& one : (*port)->described()) {
      if (one.name == name) return one;
    }
    FAIL(name);
    return {};
  }

 private:
  const char* const library_;
  SoftContext soft_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_MLX5_PORT_H_
