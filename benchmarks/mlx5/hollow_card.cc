// SPDX-License-Identifier: Apache-2.0
// No card, in the place of libmlx5 (its name is libmlx5.so.1): tells where rings are, and completes frames in them when it is
// called, as a card does by itself. For port_turns.cc; count.sh builds it.
#include <endian.h>
#include <infiniband/mlx5dv.h>

#include <array>
#include <cstring>
#include <vector>

namespace {

constexpr uint32_t kCompletions = 4096, kSegments = 2048;
constexpr uint32_t kBurst = 32, kFrame = 64;
constexpr uint8_t kTitle = 3 << 2;

struct Rings {
  std::vector<mlx5_cqe64> completions = std::vector<mlx5_cqe64>(kCompletions);
  std::vector<mlx5_wqe_data_seg> segments = std::vector<mlx5_wqe_data_seg>(kSegments);
  std::array<uint32_t, 2> read{};
  uint32_t posted = 0;
  std::array<uint64_t, 8> registers{};
  bool compressed = false;
  uint32_t written = 0;
} rings;

void Write(uint32_t number, uint32_t bytes, uint8_t owner) {
  mlx5_cqe64& place = rings.completions[number % kCompletions];
  place = {};
  place.hds_ip_ext = MLX5_CQE_L3_OK | MLX5_CQE_L4_OK;
  place.byte_cnt = htobe32(bytes);
  place.wqe_counter = htobe16(static_cast<uint16_t>(number));
  place.op_own = static_cast<uint8_t>(owner | (number / kCompletions & 1));
}

}  // namespace

extern "C" {

bool mlx5dv_is_supported(ibv_device*) { return true; }

int mlx5dv_query_device(ibv_context*, mlx5dv_context* answer) {
  *answer = {};
  answer->cqe_comp_caps = {.max_num = kBurst, .supported_format = MLX5DV_CQE_RES_FORMAT_HASH};
  return 0;
}

ibv_cq_ex* mlx5dv_create_cq(ibv_context* context, ibv_cq_init_attr_ex* asked, mlx5dv_cq_init_attr* more) {
  rings = {};
  rings.compressed = (more->comp_mask & MLX5DV_CQ_INIT_ATTR_MASK_COMPRESSED_CQE) != 0;
  for (mlx5_cqe64& place : rings.completions) place.op_own = MLX5_CQE_INVALID << 4;
  return ibv_create_cq_ex(context, asked);
}

int mlx5dv_init_obj(mlx5dv_obj* what, uint64_t) {
  what->cq.out->buf = rings.completions.data();
  what->cq.out->dbrec = rings.read.data();
  what->cq.out->cqe_cnt = kCompletions;
  what->cq.out->cqe_size = sizeof(mlx5_cqe64);
  what->cq.out->cq_uar = rings.registers.data();
  what->rwq.out->buf = rings.segments.data();
  what->rwq.out->dbrec = &rings.posted;
  what->rwq.out->wqe_cnt = kSegments;
  what->rwq.out->stride = sizeof(mlx5_wqe_data_seg);
  return 0;
}

// A burst has come.
void hollow_card_complete() {
  if (!rings.compressed) {
    for (uint32_t i = 0; i < kBurst; ++i) Write(rings.written++, kFrame, MLX5_CQE_RESP_SEND << 4);
    return;
  }
  for (uint32_t i = 0; i < kBurst; i += 8) {
    mlx5_cqe64& minis = rings.completions[(rings.written + (i == 0 ? 1 : i)) % kCompletions];
    std::array<uint32_t, 16> words{};
    for (uint32_t j = 1; j < words.size(); j += 2) words[j] = htobe32(kFrame);
    std::memcpy(static_cast<void*>(&minis), words.data(), sizeof(minis));
  }
  Write(rings.written, kBurst, MLX5_CQE_RESP_SEND << 4 | kTitle);
  rings.written += kBurst;
}

}  // extern "C"
