// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/queue_pair_internal.h"
#include "nic/verbs/spread_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

uint64_t FieldsOf(RssType type) {
  constexpr uint64_t kOf4 = IBV_RX_HASH_SRC_IPV4 | IBV_RX_HASH_DST_IPV4;
  constexpr uint64_t kOf6 = IBV_RX_HASH_SRC_IPV6 | IBV_RX_HASH_DST_IPV6;
  constexpr uint64_t kOfTcp = IBV_RX_HASH_SRC_PORT_TCP | IBV_RX_HASH_DST_PORT_TCP;
  constexpr uint64_t kOfUdp = IBV_RX_HASH_SRC_PORT_UDP | IBV_RX_HASH_DST_PORT_UDP;
  switch (type) {
    case RssType::kNone:
      break;
    case RssType::kIpv4:
      return kOf4;
    case RssType::kIpv6:
      return kOf6;
    case RssType::kIpv4Tcp:
      return kOf4 | kOfTcp;
    case RssType::kIpv6Tcp:
      return kOf6 | kOfTcp;
    case RssType::kIpv4Udp:
      return kOf4 | kOfUdp;
    case RssType::kIpv6Udp:
      return kOf6 | kOfUdp;
  }
  return 0;
}

constexpr char kWithoutLro[] = "set lro=kOff";

// With ports, else by addresses, else not at all.
RssType Pick(const RssTypes& types, RssType with_ports, RssType addresses) {
  if (types.Has(with_ports)) return with_ports;
  return types.Has(addresses) ? addresses : RssType::kNone;
}

}  // namespace

VerbsPtr<ibv_rwq_ind_table> MakeSpreadTable(const VerbsPort& device, std::vector<ibv_wq*> queues) {
  ibv_rwq_ind_table_init_attr init{};
  init.log_ind_tbl_size = static_cast<uint32_t>(std::bit_width(queues.size()) - 1);
  init.ind_tbl = queues.data();
  return VerbsPtr<ibv_rwq_ind_table>(ibv_create_rwq_ind_table(device.context(), &init));
}

VerbsPtr<ibv_qp> MakeSpreadingPair(const VerbsPort& device, ibv_rwq_ind_table& table, VerbsHashKind kind,
                                   absl::Span<const uint8_t> key) {
  std::array<uint8_t, kRssKeySize> bytes = kMicrosoftRssKey;
  if (!key.empty()) std::copy_n(key.begin(), bytes.size(), bytes.begin());
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_IND_TABLE | IBV_QP_INIT_ATTR_RX_HASH;
  init.rwq_ind_tbl = &table;
  init.rx_hash_conf = {.rx_hash_function = IBV_RX_HASH_FUNC_TOEPLITZ,
                       .rx_hash_key_len = kRssKeySize,
                       .rx_hash_key = bytes.data(),
                       .rx_hash_fields_mask = FieldsOf(kind.type)};
  const bool inner = kind.inner && kind.type != RssType::kNone;
  if (inner) init.rx_hash_conf.rx_hash_fields_mask |= IBV_RX_HASH_INNER;
  return MakeReceivingPair(device, init, inner);
}

absl::StatusOr<VerbsSpread> VerbsSpread::Make(const VerbsPort& device, const RssConfig& config,
                                              absl::Span<ibv_wq* const> queues, bool joins) {
  VerbsSpread made(device, config, joins);
  std::vector<ibv_wq*> table;
  for (const QueueId queue : config.table()) table.push_back(queues[queue.value()]);
  made.first_ = MakeSpreadTable(device, {table[0]});
  if (made.first_ != nullptr) made.table_ = MakeSpreadTable(device, std::move(table));
  if (made.table_ != nullptr) return made;
  return device.Failed(errno, "set RSS", "",
                       absl::StrCat("no indirection table of ", config.table().size(), " entries"),
                       "use fewer entries, or close other programs on this device");
}

std::optional<VerbsHashKind> VerbsSpread::KindOf(const RuleMatch& match) const {
  const bool inner = match.inner.ipv4.has_value() || match.inner.ipv6.has_value();
  const HeadersMatch& by = inner ? match.inner : match.outer;
  const RssTypes types = config_.types();
  if (by.ipv4) {
    if (by.tcp) return VerbsHashKind{Pick(types, RssType::kIpv4Tcp, RssType::kIpv4), inner};
    if (by.udp) return VerbsHashKind{Pick(types, RssType::kIpv4Udp, RssType::kIpv4), inner};
    return VerbsHashKind{Pick(types, RssType::kIpv4, RssType::kIpv4), inner};
  }
  if (by.ipv6) {
    if (by.tcp) return VerbsHashKind{Pick(types, RssType::kIpv6Tcp, RssType::kIpv6), inner};
    if (by.udp) return VerbsHashKind{Pick(types, RssType::kIpv6Udp, RssType::kIpv6), inner};
    return VerbsHashKind{Pick(types, RssType::kIpv6, RssType::kIpv6), inner};
  }
  return std::nullopt;
}

absl::StatusOr<ibv_qp*> VerbsSpread::PairFor(VerbsHashKind kind) {
  if (kind.type == RssType::kNone) kind.inner = false;
  VerbsPtr<ibv_qp>& pair = pairs_[kind];
  if (pair == nullptr) pair = MakeSpreadingPair(*device_, TableFor(kind), kind, config_.key());
  if (pair != nullptr) return pair.get();
  return device_->Failed(errno, "set RSS", kind.inner ? "RSS by headers in tunnels" : "RSS",
                         "no queue pair that spreads by these fields", "use fewer types, or one queue");
}

absl::StatusOr<mlx5dv_devx_obj*> VerbsSpread::TirFor(VerbsHashKind kind) {
  Mlx5Lro::Tir& tir = tirs_[kind];
  std::string wrong;
  if (tir == nullptr) {
    tir = device_->mlx5().lro().MakeTir(*device_->context(),
                                        {.table = static_cast<uint32_t>(TableFor(kind).ind_tbl_num),
                                         .type = kind.type,
                                         .key = config_.key(),
                                         .blocks_own_multicast = device_->blocks_own_multicast()},
                                        wrong);
  }
  if (tir != nullptr) return tir.get();
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = device_->name(),
                                                        .stage = "set RSS",
                                                        .capability = "LRO",
                                                        .what = std::move(wrong),
                                                        .remedy = kWithoutLro});
}

absl::StatusOr<VerbsPtr<ibv_flow>> VerbsSpread::PutJoining(const RuleMatch& match, uint32_t place) {
  const absl::StatusOr<mlx5dv_devx_obj*> tir = TirFor(KindOf(match).value_or(VerbsHashKind()));
  if (!tir.ok()) return tir.status();
  const Mlx5Lro& lro = device_->mlx5().lro();
  const Mlx5Joinable frames = {.ipv6 = match.outer.ipv6.has_value(),
                               .destination = match.outer.ethernet.value_or(EthernetMatch()).destination};
  const auto failed = [this](const char* what) {
    return device_->Failed(errno, "install rule", "LRO", what, kWithoutLro);
  };
  Mlx5Lro::Matcher matcher = lro.MakeMatcher(*device_->context(), frames, static_cast<uint16_t>(place));
  if (matcher == nullptr) return failed("mlx5dv_create_flow_matcher");
  VerbsPtr<ibv_flow> flow = lro.MakeFlow(*matcher, frames, **tir);
  if (flow == nullptr) return failed("mlx5dv_create_flow");
  matchers_.push_back(std::move(matcher));
  return flow;
}

}  // namespace sluice
