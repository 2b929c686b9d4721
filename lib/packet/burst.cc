// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/burst.h"

namespace sluice {

void Burst::Compact() {
  std::copy(begin(), end(), slots_.data());
  end_ -= begin_;
  begin_ = 0;
}

}  // namespace sluice
