// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_COARSE_CLOCK_INTERNAL_H_
#define SLUICE_BASE_COARSE_CLOCK_INTERNAL_H_

#include "sluice/base/clock.h"

namespace sluice {

// The clock's time for what counts in seconds: of Clock::Monotonic() as the kernel noted it at its last timer tick, at most
// some 10 ms ago. A read of memory, where Now() waits for the processor's counter. Never backwards, but do not
// mix it with Now(), which is ahead.
Nanoseconds CoarseNow(const Clock& clock);

}  // namespace sluice

#endif  // SLUICE_BASE_COARSE_CLOCK_INTERNAL_H_
