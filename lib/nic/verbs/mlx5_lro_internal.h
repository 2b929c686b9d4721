// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_LRO_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_LRO_INTERNAL_H_

// Large receive offload of mlx5 cards: segments that follow one another in a TCP flow come as one frame. Has met no card.
//
//   flow (mlx5dv_create_flow) ──▶ TIR (made by DEVX: joins, and hashes) ──▶ table of work queues, and those (of verbs)
//
// A TIR is what stands behind a queue pair that spreads (transport interface receive). Verbs have no word for joining, so
// that a command to the card asks for one that joins, by DEVX (mlx5dv_devx_obj_create(3)). It takes queues and tables of
// verbs by their numbers: the kernel makes them for the same user of the card, for libmlx5 (36, 44 and 64 were looked at)
// opens each device for DEVX, if it may. ibv_create_flow(3) leads to queue pairs only, hence the other call; in the kernel
// (5.x was looked at), the priorities of both are the same.
//
// The transport domain is that of the queue pairs of this context, for a card keeps what a domain sends from its own TIRs.

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"
#include "nic/verbs/objects_internal.h"
#include "sluice/flow/masked.h"
#include "sluice/packet/packet.h"

struct mlx5dv_devx_obj;
struct mlx5dv_flow_action_attr;
struct mlx5dv_flow_match_parameters;
struct mlx5dv_flow_matcher;
struct mlx5dv_flow_matcher_attr;
struct mlx5dv_obj;

namespace sluice {

// Whose frames are joined: TCP, to these addresses.
struct Mlx5Joinable {
  bool ipv6 = false;
  Masked<MacAddress> destination{};
};

struct Mlx5TirOptions {
  uint32_t table = 0;             // ibv_rwq_ind_table::ind_tbl_num
  RssType type = RssType::kNone;  // that is hashed; kNone: nothing, and the table has one entry
  absl::Span<const uint8_t> key;  // kRssKeySize bytes
  bool blocks_own_multicast = false;
};

class Mlx5Lro {
  template <typename T>
  struct Destroy {
    int (*destroy)(T*) = nullptr;
    void operator()(T* object) const { destroy(object); }
  };

 public:
  using Tir = std::unique_ptr<mlx5dv_devx_obj, Destroy<mlx5dv_devx_obj>>;  // after the flows to it
  using Matcher = std::unique_ptr<mlx5dv_flow_matcher, Destroy<mlx5dv_flow_matcher>>;  // after its flows

  // Looks for the calls in the library, and asks the card. Frames are to fit `chunk_bytes`. Returns what is missing.
  std::string Find(void* library, const std::string& name, ibv_context& context, uint32_t chunk_bytes);
  const std::string& detail() const { return detail_; }  // of what was found

  // Asks for the transport domain, of a pair that can send, before any TIR is made. Returns what is wrong.
  std::string FindDomain(ibv_qp& sender);
  // Null, with what is wrong in `why`.
  Tir MakeTir(ibv_context& context, const Mlx5TirOptions& options, std::string& why) const;

  // Null with an errno on failure, both.
  Matcher MakeMatcher(ibv_context& context, const Mlx5Joinable& frames, uint16_t priority) const;
  VerbsPtr<ibv_flow> MakeFlow(mlx5dv_flow_matcher& matcher, const Mlx5Joinable& frames,
                              mlx5dv_devx_obj& tir) const;

 private:
  std::string Ask(ibv_context& context);

  uint32_t most_ = 0;    // of a frame, in 256 bytes
  uint32_t period_ = 0;  // that a flow waits at most, in microseconds
  uint32_t least_ = 0;   // of a segment
  uint32_t domain_ = 0;
  std::string detail_;
  int (*find_)(mlx5dv_obj*, uint64_t kinds) = nullptr;
  int (*command_)(ibv_context*, const void* in, size_t, void* out, size_t) = nullptr;
  int (*query_pair_)(ibv_qp*, const void* in, size_t, void* out, size_t) = nullptr;
  mlx5dv_devx_obj* (*create_)(ibv_context*, const void* in, size_t, void* out, size_t) = nullptr;
  int (*destroy_)(mlx5dv_devx_obj*) = nullptr;
  mlx5dv_flow_matcher* (*create_matcher_)(ibv_context*, mlx5dv_flow_matcher_attr*) = nullptr;
  int (*destroy_matcher_)(mlx5dv_flow_matcher*) = nullptr;
  ibv_flow* (*create_flow_)(mlx5dv_flow_matcher*, mlx5dv_flow_match_parameters*, size_t,
                            mlx5dv_flow_action_attr[]) = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_LRO_INTERNAL_H_
