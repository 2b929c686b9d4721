// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_PAIR_END_INTERNAL_H_
#define SLUICE_NIC_MODEL_PAIR_END_INTERNAL_H_

// The short way for a ModelNic that holds an end of a pair wire itself, with no decorator between: it then uses the two
// directions for what it knows how to do better than the calls of a Wire can say. Everything else goes as over any wire.

#include "nic/model/pair_way_internal.h"
#include "sluice/nic/wire.h"

namespace sluice {

class PairEnd : public Wire {
 public:
  virtual PairWay& in() = 0;   // this end receives from
  virtual PairWay& out() = 0;  // this end sends to
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_PAIR_END_INTERNAL_H_
