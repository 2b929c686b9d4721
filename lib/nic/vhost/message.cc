// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "nic/vhost/message_internal.h"

namespace sluice {
namespace {

struct FeatureName {
  uint8_t bit;
  const char* name;
};

// virtio 1.2, 5.1.3 and 6, by number: of the headers of Linux that have them, two are no C++.
constexpr FeatureName kFeatureNames[] = {
    {0, "CSUM"},
    {1, "GUEST_CSUM"},
    {2, "CTRL_GUEST_OFFLOADS"},
    {3, "MTU"},
    {5, "MAC"},
    {7, "GUEST_TSO4"},
    {8, "GUEST_TSO6"},
    {9, "GUEST_ECN"},
    {10, "GUEST_UFO"},
    {11, "HOST_TSO4"},
    {12, "HOST_TSO6"},
    {13, "HOST_ECN"},
    {14, "HOST_UFO"},
    {15, "MRG_RXBUF"},
    {16, "STATUS"},
    {17, "CTRL_VQ"},
    {18, "CTRL_RX"},
    {19, "CTRL_VLAN"},
    {21, "GUEST_ANNOUNCE"},
    {22, "MQ"},
    {23, "CTRL_MAC_ADDR"},
    {24, "NOTIFY_ON_EMPTY"},
    {26, "LOG_ALL"},
    {27, "ANY_LAYOUT"},
    {28, "INDIRECT_DESC"},
    {29, "EVENT_IDX"},
    {30, "PROTOCOL_FEATURES"},
    {32, "VERSION_1"},
    {33, "ACCESS_PLATFORM"},
    {34, "RING_PACKED"},
    {35, "IN_ORDER"},
    {36, "ORDER_PLATFORM"},
    {40, "RING_RESET"},
    {52, "VQ_NOTF_COAL"},
    {54, "GUEST_USO4"},
    {55, "GUEST_USO6"},
    {56, "HOST_USO"},
    {57, "HASH_REPORT"},
    {60, "RSS"},
    {61, "RSC_EXT"},
    {62, "STANDBY"},
    {63, "SPEED_DUPLEX"},
};

constexpr FeatureName kProtocolFeatureNames[] = {
    {0, "MQ"},
    {1, "LOG_SHMFD"},
    {2, "RARP"},
    {3, "REPLY_ACK"},
    {4, "NET_MTU"},
    {5, "BACKEND_REQ"},
    {6, "CROSS_ENDIAN"},
    {7, "CRYPTO_SESSION"},
    {8, "PAGEFAULT"},
    {9, "CONFIG"},
    {10, "BACKEND_SEND_FD"},
    {11, "HOST_NOTIFIER"},
    {12, "INFLIGHT_SHMFD"},
    {13, "RESET_DEVICE"},
    {14, "INBAND_NOTIFICATIONS"},
    {15, "CONFIGURE_MEM_SLOTS"},
    {16, "STATUS"},
};

// In the order of the bits; one without a name as its number.
std::string Names(uint64_t features, absl::Span<const FeatureName> names) {
  std::string text;
  for (uint8_t bit = 0; bit < 64; ++bit) {
    if ((features >> bit & 1) == 0) continue;
    if (!text.empty()) text += ' ';
    while (!names.empty() && names.front().bit < bit) names.remove_prefix(1);
    const bool known = !names.empty() && names.front().bit == bit;
    text += known ? std::string(names.front().name) : absl::StrCat("bit ", bit);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

const VhostRule* VhostRuleOf(uint32_t request) {
  for (const VhostRule& rule : kVhostRules) {
    if (static_cast<uint32_t>(rule.request) == request) return &rule;
  }
  return nullptr;
}

std::string VhostRequestName(uint32_t request) {
  const VhostRule* const rule = VhostRuleOf(request);
  return rule != nullptr ? rule->name : absl::StrCat("request ", request);
}

std::string VhostFeatureNames(uint64_t features) { return Names(features, kFeatureNames); }
std::string VhostProtocolFeatureNames(uint64_t features) { return Names(features, kProtocolFeatureNames); }

}  // namespace sluice
