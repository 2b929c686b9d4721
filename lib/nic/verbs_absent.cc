// SPDX-License-Identifier: Apache-2.0
// What is left of the verbs backend in a build without libibverbs: the answer that names the package.

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "sluice/nic/verbs_nic.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<VerbsNic>> OpenVerbsNic(const VerbsNicOptions& options) {
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = absl::StrCat("verbs ", options.device),
                                                        .stage = "open",
                                                        .capability = "verbs",
                                                        .what = "this libsluice was built without libibverbs",
                                                        .remedy = "install libibverbs-dev, and build again"});
}

}  // namespace sluice
