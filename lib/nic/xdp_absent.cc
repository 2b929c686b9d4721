// SPDX-License-Identifier: Apache-2.0
// What is left of the AF_XDP backend in a build without libxdp: the answer that names the package.

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "sluice/nic/xdp_nic.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<XdpNic>> OpenXdpNic(const XdpNicOptions& options) {
  return ErrorStatus(absl::StatusCode::kUnimplemented,
                     {.device = absl::StrCat("xdp ", options.interface),
                      .stage = "open",
                      .capability = "AF_XDP",
                      .what = "this libsluice was built without libxdp",
                      .remedy = "install libxdp-dev and libbpf-dev, and build again"});
}

}  // namespace sluice
