// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/mlx5/devx.h"

#include <endian.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "tests/nic/mlx5/card.h"

struct mlx5dv_devx_obj {
  ibv_qp* pair;
};
struct mlx5dv_flow_matcher {
  mlx5dv_flow_matcher_attr asked;
  sluice::testing::Mlx5StandIn::Bits mask;
};

namespace sluice::testing {
namespace {

Mlx5StandIn::Bits BitsOf(const void* bytes, size_t count) {
  const auto* const from = static_cast<const uint8_t*>(bytes);
  return {from, from + count};
}
uint32_t Read16(const Mlx5StandIn::Bits& bits, size_t at) { return uint32_t{bits[at]} << 8 | bits[at + 1]; }
uint32_t Read24(const Mlx5StandIn::Bits& bits, size_t at) { return Read16(bits, at) << 8 | bits[at + 2]; }
void Write32(Mlx5Output out, size_t at, uint32_t value) {
  const uint32_t big = htobe32(value);
  std::memcpy(static_cast<uint8_t*>(out.bytes) + at, &big, sizeof(big));
}

constexpr size_t kHeader = 16;  // of an answer

template <typename T>
T& Keep(std::vector<T>& newest, T one) {
  constexpr size_t kMost = 16;
  if (newest.size() == kMost) newest.erase(newest.begin());
  newest.push_back(std::move(one));
  return newest.back();
}

void TellAbilities(const Mlx5StandIn& self, Mlx5Output out) {
  if (self.joins) Write32(out, kHeader, 1u << 29);
  Write32(out, kHeader + 8, self.least_segment);
  for (uint32_t i = 0; i < 4; ++i) Write32(out, kHeader + 48 + 4 * i, self.periods[i]);
}

// As verbs have it, in which a hash of ports names TCP.
ibv_rx_hash_conf HashOf(Mlx5StandIn::Bits& command) {
  const uint8_t* const selector = &command[32 + 80];
  const bool six = selector[0] >> 7 != 0;
  uint64_t fields = 0;
  const uint64_t all[] = {six ? IBV_RX_HASH_SRC_IPV6 : IBV_RX_HASH_SRC_IPV4,
                          six ? IBV_RX_HASH_DST_IPV6 : IBV_RX_HASH_DST_IPV4, IBV_RX_HASH_SRC_PORT_TCP,
                          IBV_RX_HASH_DST_PORT_TCP};
  for (unsigned i = 0; i < 4; ++i) {
    if ((selector[3] >> i & 1) != 0) fields |= all[i];
  }
  return {.rx_hash_function = IBV_RX_HASH_FUNC_TOEPLITZ,
          .rx_hash_key_len = 40,
          .rx_hash_key = &command[32 + 40],
          .rx_hash_fields_mask = fields};
}

// A rule of verbs, one spec behind the other.
class Specs {
 public:
  template <typename Spec>
  void Add(Spec spec, ibv_flow_spec_type type) {
    spec.type = type;
    spec.size = sizeof(spec);
    std::memcpy(bytes_ + attr()->size, &spec, sizeof(spec));
    attr()->size = static_cast<uint16_t>(attr()->size + sizeof(spec));
    ++attr()->num_of_specs;
  }
  ibv_flow_attr* attr() { return reinterpret_cast<ibv_flow_attr*>(bytes_); }

 private:
  alignas(8) uint8_t bytes_[512] = {};
};

}  // namespace

int Mlx5Command(Mlx5StandIn& self, Mlx5Input in, Mlx5Output out) {
  constexpr uint32_t kQueryAbilities = 0x100, kQueryTis = 0x915;
  const uint32_t opcode = Read16(Keep(self.commands, BitsOf(in.bytes, in.count)), 0);
  if (self.devx_error != 0) return self.devx_error;
  if (opcode == kQueryAbilities && out.count == kHeader + 4096) {
    TellAbilities(self, out);
    return 0;
  }
  if (opcode != kQueryTis || out.count != kHeader + 160) return EINVAL;
  Write32(out, kHeader + 36, 0xff00d1d1);  // what is in front of the number is to be left out
  return self.domain_error;
}

mlx5dv_devx_obj* Mlx5CreateTir(Mlx5StandIn& self, ibv_context& context, Mlx5Input in, Mlx5Output out) {
  Mlx5StandIn::Bits& command = Keep(self.commands, BitsOf(in.bytes, in.count));
  errno = self.devx_error;
  if (self.devx_error != 0) return nullptr;
  if (self.tir_status != 0) {
    Write32(out, 0, uint32_t{self.tir_status} << 24);
    Write32(out, 4, 0x7a2bdb);
    errno = EREMOTEIO;
    return nullptr;
  }
  ibv_qp* const pair = Mlx5Card::Only().CreateJoiningPair(context, Read24(command, 32 + 33), HashOf(command),
                                                          uint32_t{command[32 + 19]} * 256);
  if (pair == nullptr) return nullptr;
  ++self.tirs;
  return new mlx5dv_devx_obj{pair};
}

int Mlx5DestroyTir(Mlx5StandIn& self, mlx5dv_devx_obj* tir) {
  if (const int error = ibv_destroy_qp(tir->pair); error != 0) return error;
  --self.tirs;
  delete tir;
  return 0;
}

mlx5dv_flow_matcher* Mlx5CreateMatcher(Mlx5StandIn& self, const mlx5dv_flow_matcher_attr& asked) {
  errno = self.matcher_error;
  if (self.matcher_error != 0) return nullptr;
  ++self.matchers;
  return new mlx5dv_flow_matcher{asked, BitsOf(asked.match_mask->match_buf, asked.match_mask->match_sz)};
}

int Mlx5DestroyMatcher(Mlx5StandIn& self, mlx5dv_flow_matcher* matcher) {
  --self.matchers;
  delete matcher;
  return 0;
}

ibv_flow* Mlx5CreateFlow(Mlx5StandIn& self, const mlx5dv_flow_matcher& matcher,
                         const mlx5dv_flow_match_parameters& value, size_t actions,
                         const mlx5dv_flow_action_attr* action) {
  const Mlx5StandIn::Bits bits = BitsOf(value.match_buf, value.match_sz);
  Keep(self.flow_calls, {.priority = matcher.asked.priority,
                         .criteria = matcher.asked.match_criteria_enable,
                         .mask = matcher.mask,
                         .value = bits,
                         .actions = actions,
                         .action = action->type});
  errno = self.flow_error;
  if (self.flow_error != 0) return nullptr;
  const bool six = (bits[18] >> 1 & 15) == 6;
  Specs specs;
  *specs.attr() = {.comp_mask = 0,
                   .type = matcher.asked.type,
                   .size = sizeof(ibv_flow_attr),
                   .priority = matcher.asked.priority,
                   .num_of_specs = 0,
                   .port = 1,
                   .flags = 0};
  ibv_flow_spec_eth ethernet{};
  std::copy_n(&bits[8], 6, ethernet.val.dst_mac);
  std::copy_n(&matcher.mask[8], 6, ethernet.mask.dst_mac);
  specs.Add(ethernet, IBV_FLOW_SPEC_ETH);
  six ? specs.Add(ibv_flow_spec_ipv6{}, IBV_FLOW_SPEC_IPV6)
      : specs.Add(ibv_flow_spec_ipv4_ext{}, IBV_FLOW_SPEC_IPV4_EXT);
  specs.Add(ibv_flow_spec_tcp_udp{}, IBV_FLOW_SPEC_TCP);
  ibv_flow_spec_action_tag tag{};
  tag.tag_id = Mlx5Card::kJoining;
  specs.Add(tag, IBV_FLOW_SPEC_ACTION_TAG);
  return ibv_create_flow(action->obj->pair, specs.attr());
}

}  // namespace sluice::testing
