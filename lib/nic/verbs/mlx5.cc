// SPDX-License-Identifier: Apache-2.0
#include <infiniband/mlx5dv.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/mlx5_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

template <typename Call>
Call* Find(void* library, const char* name) {
  return reinterpret_cast<Call*>(dlsym(library, name));
}

// Returns why the device tells nothing; empty when it does. What the library does not know of stays zero.
std::string Ask(void* library, const std::string& name, ibv_context& context, mlx5dv_context& told) {
  if (library == nullptr) return absl::StrCat(name, " is not loaded, as it would be for an mlx5 device");
  auto* const drives = Find<decltype(mlx5dv_is_supported)>(library, "mlx5dv_is_supported");
  auto* const query = Find<decltype(mlx5dv_query_device)>(library, "mlx5dv_query_device");
  if (drives == nullptr || query == nullptr)
    return absl::StrCat(name, " lacks mlx5dv_is_supported or mlx5dv_query_device");
  if (!drives(context.device)) return absl::StrCat(name, " does not drive this device");
  mlx5dv_context asked{};
  asked.comp_mask = MLX5DV_CONTEXT_MASK_CQE_COMPRESION | MLX5DV_CONTEXT_MASK_STRIDING_RQ |
                    MLX5DV_CONTEXT_MASK_TUNNEL_OFFLOADS | MLX5DV_CONTEXT_MASK_NUM_LAG_PORTS;
  const int error = query(&context, &asked);
  if (error != 0) return absl::StrCat("mlx5dv_query_device: ", ErrnoText(error));
  told = asked;
  return "";
}

std::string CompressionMissing(const mlx5dv_cqe_comp_caps& caps) {
  if (caps.max_num == 0) return "cqe_comp_caps.max_num is 0";
  const bool hashes = (caps.supported_format & MLX5DV_CQE_RES_FORMAT_HASH) != 0;
  return hashes ? "" : "cqe_comp_caps has no format with hashes";
}

VerbsCapability Told(const char* name, const std::string& missing, std::string detail) {
  return {.name = name, .found = missing.empty(), .detail = missing.empty() ? std::move(detail) : missing};
}

VerbsCapability Tunnels(uint32_t caps, bool callable) {
  const bool found = caps != 0 && callable;
  const char* const missing = caps == 0 ? "tunnel_offloads_caps is 0" : "the library lacks mlx5dv_create_qp";
  return {.name = "tunnel offloads",
          .found = found,
          .detail = found ? "used where frames are spread by headers in tunnels" : missing};
}

std::string MissingPorts(uint8_t ports) { return ports > 1 ? "" : absl::StrCat("num_lag_ports is ", ports); }

}  // namespace

Mlx5::Mlx5(ibv_context& context, const std::string& library)
    : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
  mlx5dv_context told{};
  const std::string silent = Ask(library_.get(), library, context, told);
  if (silent.empty()) {
    set_lag_port_ = Find<decltype(mlx5dv_modify_qp_lag_port)>(library_.get(), "mlx5dv_modify_qp_lag_port");
    lag_missing_ = set_lag_port_ == nullptr ? absl::StrCat(library, " lacks mlx5dv_modify_qp_lag_port")
                                            : MissingPorts(told.num_lag_ports);
  } else {
    lag_missing_ = silent;
  }
  auto* const create_pair =
      silent.empty() ? Find<decltype(mlx5dv_create_qp)>(library_.get(), "mlx5dv_create_qp") : nullptr;
  if (told.tunnel_offloads_caps != 0) create_pair_ = create_pair;
  if (silent.empty()) {
    compression_missing_ = CompressionMissing(told.cqe_comp_caps);
    striding_missing_ = FindStriding(library, told.striding_rq_caps);
    FindDirect(library);
    lro_missing_ = lro_.Find(library_.get(), library, context, lro_strides_.chunk_bytes());
  } else {
    lro_missing_ = striding_missing_ = compression_missing_ = direct_missing_ = silent;
  }
  const bool lag = lag_missing_.empty();
  if (lag) lag_ports_ = told.num_lag_ports;
  described_ = {
      Told("direct receive", direct_missing_, "by rings in memory"),
      Told("compressed completions", compression_missing_,
           absl::StrCat("up to ", told.cqe_comp_caps.max_num, " in one")),
      Told("striding receive queues", striding_missing_,
           absl::StrCat(strides_.count(), " strides of ", strides_.bytes(), " bytes in one request")),
      Tunnels(told.tunnel_offloads_caps, create_pair != nullptr),
      {.name = "lag ports",
       .found = lag,
       .detail = lag ? absl::StrCat(lag_ports_, " to choose from") : lag_missing_},
      Told("LRO", lro_missing_, lro_.detail())};
  if (silent.empty()) return;
  for (VerbsCapability& one : described_) one.detail = silent;
}

void Mlx5::FindDirect(const std::string& name) {
  create_completions_ = Find<decltype(mlx5dv_create_cq)>(library_.get(), "mlx5dv_create_cq");
  find_ = Find<decltype(mlx5dv_init_obj)>(library_.get(), "mlx5dv_init_obj");
  if (create_completions_ != nullptr && find_ != nullptr) return;
  direct_missing_ = absl::StrCat(name, " lacks mlx5dv_create_cq or mlx5dv_init_obj");
}

// The shape of chunks is that of Mlx5Strides, or the next that the card has; of those for LRO, two of the longest frames fit
// into one, if the card can do that. Returns what is missing.
std::string Mlx5::FindStriding(const std::string& name, const mlx5dv_striding_rq_caps& caps) {
  if ((caps.supported_qpts & (1u << IBV_QPT_RAW_PACKET)) == 0) return "striding_rq_caps has no raw packets";
  strides_.log_bytes = std::max(strides_.log_bytes, caps.min_single_stride_log_num_of_bytes);
  strides_.log_count = std::max(strides_.log_count, caps.min_single_wqe_log_num_of_strides);
  constexpr uint32_t kLogLroChunk = 17;
  const uint32_t log_count = std::min(kLogLroChunk - std::min(strides_.log_bytes, kLogLroChunk),
                                      caps.max_single_wqe_log_num_of_strides);
  lro_strides_ = {.log_bytes = strides_.log_bytes, .log_count = std::max(strides_.log_count, log_count)};
  create_work_ = Find<decltype(mlx5dv_create_wq)>(library_.get(), "mlx5dv_create_wq");
  return create_work_ != nullptr ? "" : absl::StrCat(name, " lacks mlx5dv_create_wq");
}

ibv_wq* Mlx5::CreateStridingWork(ibv_context& context, ibv_wq_init_attr& asked,
                                 const Mlx5Strides& strides) const {
  mlx5dv_wq_init_attr more{};
  more.comp_mask = MLX5DV_WQ_INIT_ATTR_MASK_STRIDING_RQ;
  more.striding_rq_attrs = {.single_stride_log_num_of_bytes = strides.log_bytes,
                            .single_wqe_log_num_of_strides = strides.log_count,
                            .two_byte_shift_en = 0};
  return create_work_(&context, &asked, &more);
}

ibv_cq_ex* Mlx5::CreateCompletions(ibv_context& context, ibv_cq_init_attr_ex& asked, bool compressed) const {
  mlx5dv_cq_init_attr more{};
  more.comp_mask = MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE;
  more.cqe_size = sizeof(Mlx5Completion);
  if (compressed) {
    more.comp_mask |= MLX5DV_CQ_INIT_ATTR_MASK_COMPRESSED_CQE;
    more.cqe_comp_res_format = MLX5DV_CQE_RES_FORMAT_HASH;
  }
  return create_completions_(&context, &asked, &more);
}

int Mlx5::FindRings(ibv_cq& completions, ibv_wq& work, const Least& least, Mlx5Rings& rings) const {
  mlx5dv_cq cq{};
  mlx5dv_rwq rwq{};
  mlx5dv_obj both{};
  both.cq = {.in = &completions, .out = &cq};
  both.rwq = {.in = &work, .out = &rwq};
  if (const int error = find_(&both, MLX5DV_OBJ_CQ | MLX5DV_OBJ_RWQ); error != 0) return error;
  if (cq.cqe_size != sizeof(Mlx5Completion) || !std::has_single_bit(cq.cqe_cnt)) return EPROTO;
  const uint32_t step = least.striding ? 2 : 1;
  if (rwq.stride != step * sizeof(Mlx5Segment) || !std::has_single_bit(rwq.wqe_cnt)) return EPROTO;
  if (rwq.wqe_cnt < least.requests || cq.cqe_cnt < least.completions) return EPROTO;
  if (least.striding && rwq.wqe_cnt != least.requests) return EPROTO;  // each has a chunk of its own
  rings = {.completions = static_cast<Mlx5Completion*>(cq.buf),
           .completion_count = cq.cqe_cnt,
           .completion_records = cq.dbrec,
           .event_register = reinterpret_cast<uint64_t*>(static_cast<uint8_t*>(cq.cq_uar) + MLX5_CQ_DOORBELL),
           .completion_queue = cq.cqn,
           .segments = static_cast<Mlx5Segment*>(rwq.buf),
           .segment_count = rwq.wqe_cnt,
           .segment_step = step,
           .segment_record = rwq.dbrec};
  return 0;
}

ibv_qp* Mlx5::CreateTunnelPair(ibv_context& context, ibv_qp_init_attr_ex& asked) const {
  mlx5dv_qp_init_attr more{};
  more.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_QP_CREATE_FLAGS;
  more.create_flags = MLX5DV_QP_CREATE_TUNNEL_OFFLOADS;
  return create_pair_(&context, &asked, &more);
}

}  // namespace sluice
