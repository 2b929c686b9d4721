// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/mlx5/stand_in.h"

#include <cerrno>

#include "tests/nic/mlx5/card.h"
#include "tests/nic/mlx5/devx.h"

namespace sluice::testing {

Mlx5Card& Mlx5Card::Only() {
  static Mlx5Card only(*mlx5_stand_in());
  return only;
}

}  // namespace sluice::testing

using sluice::testing::Mlx5Card;

extern "C" {

sluice::testing::Mlx5StandIn* mlx5_stand_in() {
  static sluice::testing::Mlx5StandIn only;
  return &only;
}

void mlx5_card_pump() { Mlx5Card::Only().Pump(); }
void mlx5_card_run() { Mlx5Card::Only().Run(); }
void mlx5_card_rest() { Mlx5Card::Only().Rest(); }

bool mlx5dv_is_supported(ibv_device* /*device*/) { return mlx5_stand_in()->drives; }

int mlx5dv_query_device(ibv_context* /*context*/, mlx5dv_context* answer) {
  sluice::testing::Mlx5StandIn& self = *mlx5_stand_in();
  self.fields = answer->comp_mask;
  if (self.query_error == 0) *answer = self.tells;
  return self.query_error;
}

ibv_qp* mlx5dv_create_qp(ibv_context* context, ibv_qp_init_attr_ex* asked, mlx5dv_qp_init_attr* more) {
  sluice::testing::Mlx5StandIn& self = *mlx5_stand_in();
  self.pair_calls.push_back({.hash_fields = asked->rx_hash_conf.rx_hash_fields_mask,
                             .fields = more->comp_mask,
                             .flags = more->create_flags});
  errno = self.pair_error;
  return self.pair_error == 0 ? ibv_create_qp_ex(context, asked) : nullptr;
}

ibv_cq_ex* mlx5dv_create_cq(ibv_context* context, ibv_cq_init_attr_ex* asked, mlx5dv_cq_init_attr* more) {
  sluice::testing::Mlx5StandIn& self = *mlx5_stand_in();
  self.completions_calls.push_back({.entries = asked->cqe,
                                    .fields = more->comp_mask,
                                    .format = more->cqe_comp_res_format,
                                    .size = more->cqe_size});
  errno = self.completions_error;
  return self.completions_error == 0 ? Mlx5Card::Only().CreateCompletions(context, asked, more) : nullptr;
}

ibv_wq* mlx5dv_create_wq(ibv_context* context, ibv_wq_init_attr* asked, mlx5dv_wq_init_attr* more) {
  sluice::testing::Mlx5StandIn& self = *mlx5_stand_in();
  self.work_calls.push_back(
      {.requests = asked->max_wr, .fields = more->comp_mask, .strides = more->striding_rq_attrs});
  errno = self.work_error;
  return self.work_error == 0 ? Mlx5Card::Only().CreateStriding(context, asked, *more) : nullptr;
}

int mlx5dv_init_obj(mlx5dv_obj* what, uint64_t kinds) { return Mlx5Card::Only().Tell(*what, kinds); }

// These came later than the others (the first of them in rdma-core 30): one build of this library is without.
#ifndef SLUICE_BEFORE_LAG_PORTS
int mlx5dv_devx_general_cmd(ibv_context* /*context*/, const void* in, size_t in_bytes, void* out,
                            size_t out_bytes) {
  return sluice::testing::Mlx5Command(*mlx5_stand_in(), {in, in_bytes}, {out, out_bytes});
}
int mlx5dv_devx_qp_query(ibv_qp* /*pair*/, const void* in, size_t in_bytes, void* out, size_t out_bytes) {
  return sluice::testing::Mlx5Command(*mlx5_stand_in(), {in, in_bytes}, {out, out_bytes});
}
mlx5dv_devx_obj* mlx5dv_devx_obj_create(ibv_context* context, const void* in, size_t in_bytes, void* out,
                                        size_t out_bytes) {
  return sluice::testing::Mlx5CreateTir(*mlx5_stand_in(), *context, {in, in_bytes}, {out, out_bytes});
}
int mlx5dv_devx_obj_destroy(mlx5dv_devx_obj* tir) {
  return sluice::testing::Mlx5DestroyTir(*mlx5_stand_in(), tir);
}
mlx5dv_flow_matcher* mlx5dv_create_flow_matcher(ibv_context* /*context*/, mlx5dv_flow_matcher_attr* asked) {
  return sluice::testing::Mlx5CreateMatcher(*mlx5_stand_in(), *asked);
}
int mlx5dv_destroy_flow_matcher(mlx5dv_flow_matcher* matcher) {
  return sluice::testing::Mlx5DestroyMatcher(*mlx5_stand_in(), matcher);
}
ibv_flow* mlx5dv_create_flow(mlx5dv_flow_matcher* matcher, mlx5dv_flow_match_parameters* value,
                             size_t actions, mlx5dv_flow_action_attr* action) {
  return sluice::testing::Mlx5CreateFlow(*mlx5_stand_in(), *matcher, *value, actions, action);
}

int mlx5dv_modify_qp_lag_port(ibv_qp* pair, uint8_t port) {
  sluice::testing::Mlx5StandIn& self = *mlx5_stand_in();
  self.lag_calls.push_back({.pair = pair, .state = pair->state, .port = port});
  return self.lag_error;
}
#endif

}  // extern "C"
