// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODE_H_
#define SLUICE_NIC_MODE_H_

// Modes that a device or kernel may or may not have: how much they are wanted, and what came of it.

#include <cstdint>
#include <string>

namespace sluice {

// How much the caller wants an optional mode: without it, if it can be had, or fail when it cannot.
enum class Want : uint8_t { kOff, kPrefer, kRequire };

// A mode that was asked for, and what came of it.
struct ModeInForce {
  std::string name;  // "zero-copy", "busy-poll", "tso"
  Want wanted = Want::kOff;
  bool active = false;
  std::string reason;  // why it is not active, when it was wanted
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODE_H_
