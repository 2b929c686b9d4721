// SPDX-License-Identifier: Apache-2.0
// What is left of the software verbs device in a build without libibverbs: the answer that names the package.

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "sluice/nic/software_verbs.h"
#include "sluice/nic/software_verbs_config.h"

namespace sluice {

namespace {

absl::Status Absent(absl::string_view name) {
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = absl::StrCat("software verbs ", name),
                                                        .stage = "open",
                                                        .capability = "verbs",
                                                        .what = "this libsluice was built without libibverbs",
                                                        .remedy = "install libibverbs-dev, and build again"});
}

}  // namespace

absl::StatusOr<std::unique_ptr<SoftwareVerbs>> SoftwareVerbs::Create(const SoftwareVerbsOptions& options,
                                                                     std::unique_ptr<Wire>) {
  return Absent(options.name);
}

absl::Status RegisterSoftwareVerbs() { return Absent("devices"); }

std::vector<ibv_device*> ConfiguredSoftwareVerbs() { return {}; }

}  // namespace sluice
