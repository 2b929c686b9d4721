// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_PORT_COUNTER_INTERNAL_H_
#define SLUICE_NIC_VERBS_PORT_COUNTER_INTERNAL_H_

// A counter that the card keeps of a port, and the kernel shows in sysfs: "ports/1/hw_counters/out_of_buffer" in the
// folder of the device. It counts for all programs that use the port.

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/text_file_internal.h"

namespace sluice {

class VerbsPortCounter {
 public:
  VerbsPortCounter(const ibv_context& context, uint8_t port, absl::string_view name)
      : path_(absl::StrCat(context.device->ibdev_path, "/ports/", port, "/hw_counters/", name)),
        before_(Read().value_or(0)) {}

  // What was counted since this object was made; 0 where there is no such counter. A system call or two.
  uint64_t Added() const { return Read().value_or(before_) - before_; }

 private:
  std::optional<uint64_t> Read() const {
    uint64_t value = 0;
    if (!absl::SimpleAtoi(ReadTextFile(path_).value_or(""), &value)) return std::nullopt;
    return value;
  }

  const std::string path_;
  const uint64_t before_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_PORT_COUNTER_INTERNAL_H_
