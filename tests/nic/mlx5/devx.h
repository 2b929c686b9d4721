// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_DEVX_H_
#define SLUICE_TESTS_NIC_MLX5_DEVX_H_

// The calls of DEVX, and those that make flows to what it made, of what stands in for libmlx5: a TIR is a queue pair of the
// software device, which spreads, and a flow to it one of verbs. The places of what is in commands are written down here
// apart from the library's own.

#include <infiniband/mlx5dv.h>

#include <cstddef>

#include "tests/nic/mlx5/stand_in.h"

namespace sluice::testing {

struct Mlx5Input {
  const void* bytes;
  size_t count;
};
struct Mlx5Output {
  void* bytes;
  size_t count;
};

int Mlx5Command(Mlx5StandIn& self, Mlx5Input in, Mlx5Output out);
mlx5dv_devx_obj* Mlx5CreateTir(Mlx5StandIn& self, ibv_context& context, Mlx5Input in, Mlx5Output out);
int Mlx5DestroyTir(Mlx5StandIn& self, mlx5dv_devx_obj* tir);
mlx5dv_flow_matcher* Mlx5CreateMatcher(Mlx5StandIn& self, const mlx5dv_flow_matcher_attr& asked);
int Mlx5DestroyMatcher(Mlx5StandIn& self, mlx5dv_flow_matcher* matcher);
ibv_flow* Mlx5CreateFlow(Mlx5StandIn& self, const mlx5dv_flow_matcher& matcher,
                         const mlx5dv_flow_match_parameters& value, size_t actions,
                         const mlx5dv_flow_action_attr* action);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_MLX5_DEVX_H_
