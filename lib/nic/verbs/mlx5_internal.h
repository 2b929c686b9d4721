// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_INTERNAL_H_

// What mlx5 cards have beyond verbs (mlx5dv(7)), as libmlx5 tells. None of this has met a card.
//
//   libibverbs ──opens an mlx5 device──▶ loads libmlx5, its provider ◀──looks it up── Mlx5
//
// It is looked up among what is loaded, and not loaded: a process without such a card stays without it, and the one
// that is found is the one that drives the card.
//
// Used are, as far as the options ask for them:
//   the port of a bond
//   tunnel offloads          a flag without which a queue pair that spreads by headers in tunnels is refused (EOPNOTSUPP)
//   direct receive           where a work queue and its completion queue are in memory (mlx5dv_init_obj(3)), which are then
//                            read and written here: see Mlx5Receiver
//   compressed completions   for queues of direct receive only: the polling of libmlx5 (36, 44 and 64 were looked at) takes
//                            a block of them for one completion, and its bytes for those of a frame
//   striding receive queues  for the same only: see Mlx5Chunks. How many strides a frame took, a completion of verbs does
//                            not tell
//   LRO                      with striding queues: see Mlx5Lro, and Mlx5Joined

#include <dlfcn.h>
#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nic/verbs/mlx5_chunks_internal.h"
#include "nic/verbs/mlx5_lro_internal.h"
#include "nic/verbs/mlx5_receiver_internal.h"
#include "sluice/nic/verbs_nic.h"

struct mlx5dv_cq_init_attr;
struct mlx5dv_obj;
struct mlx5dv_qp_init_attr;
struct mlx5dv_striding_rq_caps;
struct mlx5dv_wq_init_attr;

namespace sluice {

class Mlx5 {
 public:
  static constexpr char kLibrary[] = "libmlx5.so.1";

  // Of any device; of one that is no mlx5 one all is missing. `library` is kLibrary but for tests.
  Mlx5(ibv_context& context, const std::string& library);

  const std::vector<VerbsCapability>& described() const { return described_; }

  // How many ports there are to choose from; 0 = there is no choice, and lag_missing() tells why.
  uint8_t lag_ports() const { return lag_ports_; }
  const std::string& lag_missing() const { return lag_missing_; }
  // What the pair sends leaves by this port, 1 to lag_ports(), until the state of the pair is changed
  // (mlx5dv_modify_qp_lag_port(3)). Returns an errno; EOPNOTSUPP: the ports are no bond.
  int SetLagPort(ibv_qp& pair, uint8_t port) const { return set_lag_port_(&pair, port); }

  // Whether queue pairs that look into tunnels are made by the next, and not by ibv_create_qp_ex(3).
  bool makes_tunnel_pairs() const { return create_pair_ != nullptr; }
  // Null with an errno on failure (mlx5dv_create_qp(3)).
  ibv_qp* CreateTunnelPair(ibv_context& context, ibv_qp_init_attr_ex& asked) const;

  // Why no rings can be read here; empty: they can, as far as the library tells.
  const std::string& direct_missing() const { return direct_missing_; }
  // The same of completions in blocks, on queues whose rings are read here.
  const std::string& compression_missing() const { return compression_missing_; }
  // A queue of completions that are 64 bytes each, in blocks or not. Null with an errno on failure (mlx5dv_create_cq(3)).
  ibv_cq_ex* CreateCompletions(ibv_context& context, ibv_cq_init_attr_ex& asked, bool compressed) const;
  // The same of striding work queues; and the chunks that they are of here.
  const std::string& striding_missing() const { return striding_missing_; }
  const Mlx5Strides& strides(bool lro) const { return lro ? lro_strides_ : strides_; }
  // Null with an errno on failure (mlx5dv_create_wq(3)).
  ibv_wq* CreateStridingWork(ibv_context& context, ibv_wq_init_attr& asked, const Mlx5Strides& strides) const;
  // The same of LRO, on striding queues.
  const std::string& lro_missing() const { return lro_missing_; }
  const Mlx5Lro& lro() const { return lro_; }
  Mlx5Lro& lro() { return lro_; }
  // Where the rings of a work queue are, which from then on libmlx5 is not called for. Returns an errno; EPROTO: they look
  // like none that are known here, or have no room for as many requests or completions.
  struct Least {
    uint32_t requests, completions;
    bool striding;
  };
  int FindRings(ibv_cq& completions, ibv_wq& work, const Least& least, Mlx5Rings& rings) const;

 private:
  void FindDirect(const std::string& name);
  std::string FindStriding(const std::string& name, const mlx5dv_striding_rq_caps& caps);

  struct Close {
    void operator()(void* library) const { dlclose(library); }
  };

  const std::unique_ptr<void, Close> library_;
  std::vector<VerbsCapability> described_;
  std::string lag_missing_, direct_missing_, compression_missing_, striding_missing_, lro_missing_;
  Mlx5Strides strides_, lro_strides_;
  Mlx5Lro lro_;
  uint8_t lag_ports_ = 0;
  int (*set_lag_port_)(ibv_qp*, uint8_t) = nullptr;
  ibv_qp* (*create_pair_)(ibv_context*, ibv_qp_init_attr_ex*, mlx5dv_qp_init_attr*) = nullptr;
  ibv_cq_ex* (*create_completions_)(ibv_context*, ibv_cq_init_attr_ex*, mlx5dv_cq_init_attr*) = nullptr;
  ibv_wq* (*create_work_)(ibv_context*, ibv_wq_init_attr*, mlx5dv_wq_init_attr*) = nullptr;
  int (*find_)(mlx5dv_obj*, uint64_t kinds) = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_INTERNAL_H_
