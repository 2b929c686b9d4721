// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_STAND_IN_H_
#define SLUICE_TESTS_NIC_MLX5_STAND_IN_H_

// A library that answers as libmlx5 is documented to, as it is told, and writes down what it is asked; with a card.

#include <infiniband/mlx5dv.h>

#include <array>
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

  // A command of DEVX, or a mask or value of a flow.
  using Bits = std::vector<uint8_t>;

  struct FlowCall {
    uint16_t priority;
    uint8_t criteria;
    Bits mask, value;
    size_t actions;
    mlx5dv_flow_action_type action;
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

  // Of DEVX: what the kernel answers to each command, to that of its number, and the card to that which makes a TIR.
  int devx_error = 0, domain_error = 0;
  uint8_t tir_status = 0;  // 0: well
  int matcher_error = 0, flow_error = 0;
  bool tells_numbers = true;  // of queue pairs
  bool joins = true;
  std::array<uint32_t, 4> periods = {8, 16, 32, 1024};
  uint16_t least_segment = 128;

  // How the card completes: so many at most in a block, and each as this leaves it, titles of blocks among them.
  uint32_t most_in_block = 64;
  std::function<void(mlx5_cqe64&)> spoil;
  uint32_t blocks = 0;   // that it wrote
  uint32_t fillers = 0;  // completions without a frame, for the rest of a chunk
  uint32_t joined = 0;   // frames that it made of several

  // What is there of these.
  int tirs = 0, matchers = 0;

  // What it was asked.
  uint64_t fields = 0;
  std::vector<CompletionsCall> completions_calls;
  std::vector<WorkCall> work_calls;
  std::vector<LagCall> lag_calls;
  std::vector<PairCall> pair_calls;
  std::vector<Bits> commands;        // the newest
  std::vector<FlowCall> flow_calls;  // likewise
};

}  // namespace sluice::testing

// The one of this library.
extern "C" sluice::testing::Mlx5StandIn* mlx5_stand_in();
// Its card looks once at what the driver wrote, and at what arrived; or on a thread of its own, until it rests. See card.h.
extern "C" void mlx5_card_pump();
extern "C" void mlx5_card_run();
extern "C" void mlx5_card_rest();

#endif  // SLUICE_TESTS_NIC_MLX5_STAND_IN_H_
