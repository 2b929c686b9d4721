// SPDX-License-Identifier: Apache-2.0
#include "nic/softverbs/queue_pair_internal.h"

namespace sluice {

void SoftQueuePair::SetState(State state) {
  state_ = state;
  if (spreads()) return;
  receive_->set_open(state == State::kReceiving || state == State::kSending);
  if (state == State::kReset) {
    send_->Reset();
    receive_->Reset();
  }
  if (state == State::kError) (void)Flush();
}

}  // namespace sluice
