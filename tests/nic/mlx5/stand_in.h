// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_STAND_IN_H_
#define SLUICE_TESTS_NIC_MLX5_STAND_IN_H_

// A library that answers as libmlx5 is documented to, as it is told, and writes down what it is asked.

#include <infiniband/mlx5dv.h>

#include <cstdint>
#include <vector>

namespace sluice::testing {

struct Mlx5StandIn {
  struct LagCall {
    const ibv_qp* pair;
    ibv_qp_state state;  // of the pair by then
    uint8_t port;
  };

  struct PairCall {
    uint64_t hash_fields;  // that were asked for
    uint64_t fields;       // of mlx5dv_qp_init_attr that count
    uint32_t flags;
  };

  // What it answers.
  bool drives = true;
  int query_error = 0;
  mlx5dv_context tells{};
  int lag_error = 0;
  int pair_error = 0;  // 0: pairs are made as by ibv_create_qp_ex

  // What it was asked.
  uint64_t fields = 0;
  std::vector<LagCall> lag_calls;
  std::vector<PairCall> pair_calls;
};

}  // namespace sluice::testing

// The one of this library.
extern "C" sluice::testing::Mlx5StandIn* mlx5_stand_in();

#endif  // SLUICE_TESTS_NIC_MLX5_STAND_IN_H_
