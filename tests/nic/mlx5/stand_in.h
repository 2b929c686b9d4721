// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_STAND_IN_H_
#define SLUICE_TESTS_NIC_MLX5_STAND_IN_H_

// A library that answers as libmlx5 is documented to, as it is told, and writes down what it is asked; with a card.

#include <infiniband/mlx5dv.h>

#include <cstdint>
#include <functional>
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

  struct CompletionsCall {
    uint32_t entries;
    uint64_t fields;  // of mlx5dv_cq_init_attr that count
    uint8_t format;   // of blocks
    uint16_t size;    // of a completion
  };

  struct WorkCall {
    uint32_t requests;
    uint64_t fields;  // of mlx5dv_wq_init_attr that count
    mlx5dv_striding_rq_init_attr strides;
  };

  // What it answers.
  bool drives = true;
  int query_error = 0;
  mlx5dv_context tells{};
  int lag_error = 0;
  int pair_error = 0;  // 0: pairs are made as by ibv_create_qp_ex

  int completions_error = 0;
  int work_error = 0;
  int rings_error = 0;
  uint32_t completion_size = sizeof(mlx5_cqe64), segment_size = 0;  // as it tells; 0: as it is

  // How the card completes: so many at most in a block, and each as this leaves it, titles of blocks among them.
  uint32_t most_in_block = 64;
  std::function<void(mlx5_cqe64&)> spoil;
  uint32_t blocks = 0;   // that it wrote
  uint32_t fillers = 0;  // completions without a frame, for the rest of a chunk

  // What it was asked.
  uint64_t fields = 0;
  std::vector<CompletionsCall> completions_calls;
  std::vector<WorkCall> work_calls;
  std::vector<LagCall> lag_calls;
  std::vector<PairCall> pair_calls;
};

}  // namespace sluice::testing

// The one of this library.
extern "C" sluice::testing::Mlx5StandIn* mlx5_stand_in();
// Its card looks once at what the driver wrote, and at what arrived; or on a thread of its own, until it rests. See card.h.
extern "C" void mlx5_card_pump();
extern "C" void mlx5_card_run();
extern "C" void mlx5_card_rest();

#endif  // SLUICE_TESTS_NIC_MLX5_STAND_IN_H_
