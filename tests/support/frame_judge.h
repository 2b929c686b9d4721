// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_FRAME_JUDGE_H_
#define SLUICE_TESTS_SUPPORT_FRAME_JUDGE_H_

// Whether a frame may be seen on a wire: walks its headers by hand, apart from the library's parser, and adds up every
// checksum byte by byte. Knows Ethernet, VLAN tags, IPv4 with options, IPv6 without extensions, TCP, UDP, VXLAN, Geneve
// and GRE with Ethernet or IP in it.

#include <cstdint>
#include <string>

#include "tests/support/frames.h"

namespace sluice::testing {

struct JudgedFrame {
  std::string complaint = {};  // what is wrong; empty when nothing is
  bool tcp = false;            // the innermost L4, as are the next
  uint32_t sequence = 0;
  Bytes payload = {};
};

JudgedFrame JudgeFrame(const Bytes& frame);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FRAME_JUDGE_H_
