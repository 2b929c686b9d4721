// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "nic/vhost/session_internal.h"

namespace sluice {
namespace {

std::string Text(const VhostRegionView& region) {
  return absl::StrCat("  region 0x", absl::Hex(region.guest), ": ", region.bytes, " bytes",
                      region.sealed ? "" : ", may shrink", "\n");
}

std::string Text(size_t index, const VhostRingView& ring) {
  return absl::StrCat("  ring ", index, ": ", ring.size, " entries, ", ring.runs ? "runs" : "stopped",
                      ring.enabled ? "" : ", disabled", ring.kick ? ", kick" : "", ring.call ? ", call" : "",
                      "\n");
}

}  // namespace

std::string VhostText(const VhostSnapshot& snapshot) {
  std::string text = snapshot.connected ? "front-end connected\n" : "no front-end\n";
  if (snapshot.connected) {
    absl::StrAppend(&text, "  features: ", VhostFeatureNames(snapshot.features),
                    "\n  protocol features: ", VhostProtocolFeatureNames(snapshot.protocol_features),
                    "\n  device status: 0x", absl::Hex(snapshot.device_status),
                    snapshot.logging ? ", writes are logged\n" : "\n");
  }
  for (const VhostRegionView& region : snapshot.regions) absl::StrAppend(&text, Text(region));
  for (size_t i = 0; i < snapshot.rings.size(); ++i) absl::StrAppend(&text, Text(i, snapshot.rings[i]));
  absl::StrAppend(&text, "connections ", snapshot.connections, ", refused ", snapshot.refused,
                  ", hung up on ", snapshot.bad_messages, ", messages ", snapshot.messages, "\n");
  if (!snapshot.last_error.ok()) absl::StrAppend(&text, "last error: ", snapshot.last_error.message(), "\n");
  return text;
}

}  // namespace sluice
