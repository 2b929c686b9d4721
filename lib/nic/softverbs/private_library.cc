// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "nic/softverbs/private_library_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kVersion[] = "IBVERBS_PRIVATE_34";

absl::Status Missing(absl::string_view what) {
  return ErrorStatus(absl::StatusCode::kUnimplemented,
                     {.device = "software verbs",
                      .stage = "find libibverbs",
                      .capability = kVersion,
                      .what = std::string(what),
                      .remedy = "install libibverbs1 of rdma-core 36 to 56"});
}

template <typename Function>
bool Find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlvsym(library, name, kVersion));
  return function != nullptr;
}

absl::StatusOr<PrivateLibrary> Look() {
  // A program that has it already gets the same one; nobody closes it.
  void* const library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Missing("there is no libibverbs.so.1");
  PrivateLibrary calls;
  if (Find(library, "_verbs_init_and_alloc_context", calls.init_and_alloc_context) &&
      Find(library, "verbs_set_ops", calls.set_ops) &&
      Find(library, "verbs_uninit_context", calls.uninit_context) &&
      Find(library, "verbs_register_driver_34", calls.register_driver)) {
    return calls;
  }
  return Missing(absl::StrCat("this libibverbs has no ", kVersion));
}

}  // namespace

const absl::StatusOr<PrivateLibrary>& PrivateLibrary::Get() {
  static const auto* const calls = new absl::StatusOr<PrivateLibrary>(Look());
  return *calls;
}

}  // namespace sluice
