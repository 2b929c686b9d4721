// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/mlx5_chunks_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::StatusOr<Mlx5Chunks> Mlx5Chunks::Make(ibv_pd& domain, NodeId node, Mlx5Strides strides,
                                            uint32_t count) {
  Mlx5Chunks made;
  made.strides_ = strides;
  made.count_ = count;
  const size_t bytes = size_t{count} * strides.chunk_bytes();
  absl::StatusOr<std::unique_ptr<Region>> region =
      Region::Create({.name = "strides", .bytes = bytes, .node = node});
  if (!region.ok()) return region.status();
  made.region_ = *std::move(region);
  made.registered_.reset(
      ibv_reg_mr(&domain, made.region_->data(), made.region_->size(), IBV_ACCESS_LOCAL_WRITE));
  if (made.registered_ != nullptr) return made;
  return ErrorStatus({.stage = "register memory",
                      .capability = "striding receive queues",
                      .error_number = errno,
                      .what = absl::StrCat(bytes, " bytes of strides"),
                      .remedy = "raise RLIMIT_MEMLOCK, use shorter rings, or set striding=kOff"});
}

}  // namespace sluice
