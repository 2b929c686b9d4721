// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <infiniband/mlx5dv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nic/verbs/mlx5_bits_internal.h"
#include "nic/verbs/mlx5_joined_internal.h"
#include "nic/verbs/mlx5_lro_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/rss.h"

namespace sluice {
namespace {

// Of each command and answer.
constexpr Mlx5Field kOpcode{0x00, 16}, kModifier{0x30, 16};
constexpr Mlx5Field kStatus{0x00, 8}, kSyndrome{0x20, 32};
constexpr Mlx5Field kNumber{0x48, 24};  // of the object that is asked about, or was made
constexpr size_t kShortCommand = 16;

// QUERY_HCA_CAP: what the card can do to Ethernet frames, as it is set.
constexpr uint32_t kQueryAbilities = 0x100, kEthernetAsSet = 1 << 1 | 1;
using Abilities = Mlx5Bits<16 + 4096>;
constexpr uint32_t kAbilitiesAt = 0x80;
constexpr Mlx5Field kJoins = Mlx5Field{0x02, 1}.In(kAbilitiesAt);
constexpr Mlx5Field kLeastSegment = Mlx5Field{0x50, 16}.In(kAbilitiesAt);
constexpr uint32_t kPeriods = 4;
constexpr Mlx5Field Period(uint32_t i) { return Mlx5Field{0x180 + 0x20 * i, 32}.In(kAbilitiesAt); }

// QUERY_TIS: of what sends. The context of one is 160 bytes.
constexpr uint32_t kQueryTis = 0x915;
using TisAnswer = Mlx5Bits<16 + 160>;
constexpr Mlx5Field kDomainOfTis = Mlx5Field{0x128, 24}.In(0x80);

// CREATE_TIR. The context of one is 240 bytes.
constexpr uint32_t kCreateTir = 0x900, kTirAt = 0x100;
using TirCommand = Mlx5Bits<32 + 240>;
constexpr Mlx5Field OfTir(uint32_t at, uint32_t bits) { return Mlx5Field{at, bits}.In(kTirAt); }
constexpr Mlx5Field kDispatch = OfTir(0x20, 4), kPeriod = OfTir(0x84, 16), kJoined = OfTir(0x94, 4),
                    kMost = OfTir(0x98, 8), kSymmetric = OfTir(0x100, 1), kTable = OfTir(0x108, 24),
                    kHash = OfTir(0x120, 4), kBlocked = OfTir(0x126, 2), kDomain = OfTir(0x128, 24),
                    kIpv6Hashed = OfTir(0x280, 1), kFieldsHashed = OfTir(0x282, 30);
constexpr uint32_t kKeyAt = kTirAt + 0x140;
constexpr uint32_t kByTable = 1, kIpv4AndIpv6 = 1 | 2, kToeplitz = 2, kOwnMulticast = 2;
constexpr uint32_t kAddresses = 1 | 2, kPorts = 4 | 8;

// The outer headers of a frame, which are the first of what a flow can look at.
using Headers = Mlx5Bits<64>;
constexpr uint8_t kOuterHeaders = 1;
constexpr Mlx5Field kProtocol{0x80, 8}, kIpVersion{0x93, 4};
constexpr uint32_t kDestinationAt = 0x40;

// In the form that the library takes: a length, and the bytes.
class Parameters {
 public:
  explicit Parameters(const Headers& headers) {
    const size_t size = Headers::size();
    std::memcpy(bytes_, &size, sizeof(size));
    std::memcpy(bytes_ + sizeof(size), headers.data(), size);
  }
  mlx5dv_flow_match_parameters* get() { return reinterpret_cast<mlx5dv_flow_match_parameters*>(bytes_); }

 private:
  alignas(8) uint8_t bytes_[sizeof(size_t) + Headers::size()];
};

Parameters MaskOf(const Mlx5Joinable& frames) {
  Headers headers;
  headers.PutBytes(kDestinationAt, frames.destination.mask().bytes());
  headers.Put(kProtocol, kProtocol.mask());
  headers.Put(kIpVersion, kIpVersion.mask());
  return Parameters(headers);
}

Parameters ValueOf(const Mlx5Joinable& frames) {
  Headers headers;
  headers.PutBytes(kDestinationAt, frames.destination.value().bytes());
  headers.Put(kProtocol, static_cast<uint8_t>(IpProtocol::kTcp));
  headers.Put(kIpVersion, frames.ipv6 ? 6 : 4);
  return Parameters(headers);
}

// EREMOTEIO: the kernel passed it on, and the card refused.
template <size_t kBytes>
std::string Refused(const char* call, int error, const Mlx5Bits<kBytes>& answer) {
  std::string text = absl::StrCat(call, ": ", ErrnoText(error));
  if (error != EREMOTEIO) return text;
  return text + absl::StrFormat(", status %#x, syndrome %#x", answer.Get(kStatus), answer.Get(kSyndrome));
}

bool IsIpv6(RssType type) {
  return type == RssType::kIpv6 || type == RssType::kIpv6Tcp || type == RssType::kIpv6Udp;
}
uint32_t FieldsOf(RssType type) {
  if (type == RssType::kNone) return 0;
  return type == RssType::kIpv4 || type == RssType::kIpv6 ? kAddresses : kAddresses | kPorts;
}

constexpr uint32_t kUnit = 256;  // of lengths

// The longest that fit, in kUnit. What the card counts begins with Ethernet or with TCP, as lro_max_msg_sz_mode says: so there
// is room for headers beside it.
uint32_t MostIn(uint32_t chunk_bytes) {
  constexpr uint32_t kLongest = 0xffff / kUnit;
  return std::min((chunk_bytes - kMlx5JoinedHeaders) / kUnit, kLongest);
}

}  // namespace

std::string Mlx5Lro::Find(void* library, const std::string& name, ibv_context& context,
                          uint32_t chunk_bytes) {
  const auto find = [library](auto& call, const char* symbol) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(dlsym(library, symbol));
    return call != nullptr;
  };
  const bool all =
      find(find_, "mlx5dv_init_obj") && find(command_, "mlx5dv_devx_general_cmd") &&
      find(query_pair_, "mlx5dv_devx_qp_query") && find(create_, "mlx5dv_devx_obj_create") &&
      find(destroy_, "mlx5dv_devx_obj_destroy") && find(create_matcher_, "mlx5dv_create_flow_matcher") &&
      find(destroy_matcher_, "mlx5dv_destroy_flow_matcher") && find(create_flow_, "mlx5dv_create_flow");
  if (!all) return absl::StrCat(name, " lacks calls of DEVX, or mlx5dv_create_flow");
  most_ = MostIn(chunk_bytes);
  if (std::string missing = Ask(context); !missing.empty()) return missing;
  detail_ = absl::StrCat("TCP in frames of up to ", most_ * kUnit, " bytes and chunks of ", chunk_bytes,
                         ", within ", period_, " us, from segments of ", least_, " bytes on");
  return "";
}

std::string Mlx5Lro::Ask(ibv_context& context) {
  constexpr uint32_t kLongEnough = 32;  // microseconds: Linux takes the same
  Mlx5Bits<kShortCommand> command;
  command.Put(kOpcode, kQueryAbilities);
  command.Put(kModifier, kEthernetAsSet);
  Abilities answer;
  const int error = command_(&context, command.data(), command.size(), answer.data(), answer.size());
  if (error != 0) return Refused("mlx5dv_devx_general_cmd", error, answer);
  if (answer.Get(kJoins) == 0) return "lro_cap is 0";
  for (uint32_t i = 0; i < kPeriods; ++i) {
    const uint32_t period = answer.Get(Period(i));
    if (period != 0 && period <= kPeriod.mask() && period_ < kLongEnough) period_ = period;
  }
  if (period_ == 0) return "lro_timer_supported_periods are 0";
  least_ = answer.Get(kLeastSegment);
  return "";
}

std::string Mlx5Lro::FindDomain(ibv_qp& sender) {
  mlx5dv_qp numbers{};
  numbers.comp_mask = MLX5DV_QP_MASK_RAW_QP_HANDLES;
  mlx5dv_obj object{};
  object.qp = {.in = &sender, .out = &numbers};
  if (const int error = find_(&object, MLX5DV_OBJ_QP); error != 0)
    return absl::StrCat("mlx5dv_init_obj: ", ErrnoText(error));
  if ((numbers.comp_mask & MLX5DV_QP_MASK_RAW_QP_HANDLES) == 0) return "mlx5dv_init_obj tells no tisn";
  Mlx5Bits<kShortCommand> command;
  command.Put(kOpcode, kQueryTis);
  command.Put(kNumber, numbers.tisn);
  TisAnswer answer;
  const int error = query_pair_(&sender, command.data(), command.size(), answer.data(), answer.size());
  if (error != 0) return Refused("mlx5dv_devx_qp_query", error, answer);
  domain_ = answer.Get(kDomainOfTis);
  return "";
}

// As the kernel makes those of queue pairs that spread (create_rss_raw_qp_tir of mlx5_ib), but for what joins.
Mlx5Lro::Tir Mlx5Lro::MakeTir(ibv_context& context, const Mlx5TirOptions& options, std::string& why) const {
  TirCommand command;
  command.Put(kOpcode, kCreateTir);
  command.Put(kDispatch, kByTable);
  command.Put(kTable, options.table);
  command.Put(kDomain, domain_);
  command.Put(kBlocked, options.blocks_own_multicast ? kOwnMulticast : 0);
  command.Put(kJoined, kIpv4AndIpv6);
  command.Put(kMost, most_);
  command.Put(kPeriod, period_);
  command.Put(kHash, kToeplitz);
  command.Put(kSymmetric, 1);
  command.PutBytes(kKeyAt, options.key.first(kRssKeySize));
  command.Put(kIpv6Hashed, IsIpv6(options.type) ? 1 : 0);
  command.Put(kFieldsHashed, FieldsOf(options.type));
  Mlx5Bits<16> answer;
  Tir made(create_(&context, command.data(), command.size(), answer.data(), answer.size()), {destroy_});
  if (made == nullptr) why = Refused("mlx5dv_devx_obj_create", errno, answer);
  return made;
}

Mlx5Lro::Matcher Mlx5Lro::MakeMatcher(ibv_context& context, const Mlx5Joinable& frames,
                                      uint16_t priority) const {
  Parameters mask = MaskOf(frames);
  mlx5dv_flow_matcher_attr attr{};
  attr.type = IBV_FLOW_ATTR_NORMAL;
  attr.priority = priority;
  attr.match_criteria_enable = kOuterHeaders;
  attr.match_mask = mask.get();
  return Matcher(create_matcher_(&context, &attr), {destroy_matcher_});
}

VerbsPtr<ibv_flow> Mlx5Lro::MakeFlow(mlx5dv_flow_matcher& matcher, const Mlx5Joinable& frames,
                                     mlx5dv_devx_obj& tir) const {
  Parameters value = ValueOf(frames);
  mlx5dv_flow_action_attr action{};
  action.type = MLX5DV_FLOW_ACTION_DEST_DEVX;
  action.obj = &tir;
  return VerbsPtr<ibv_flow>(create_flow_(&matcher, value.get(), 1, &action));
}

}  // namespace sluice
