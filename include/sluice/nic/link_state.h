// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_LINK_STATE_H_
#define SLUICE_NIC_LINK_STATE_H_

#include <cstdint>

namespace sluice {

enum class LinkState : uint8_t { kDown, kUp };

}  // namespace sluice

#endif  // SLUICE_NIC_LINK_STATE_H_
