// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_TSHARK_H_
#define SLUICE_TESTS_SUPPORT_TSHARK_H_

// Frames as tshark dissects them: a judge that nobody here wrote.

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::testing {

enum class TsharkChecksum { kNone, kBad, kGood, kUnverified, kNotPresent, kIllegal };

struct DissectedLayer {
  std::string name;       // tshark's: "eth", "ip", "ipv6", "tcp", "vlan", ...
  uint32_t position = 0;  // bytes from the start of the frame
  uint32_t size = 0;      // of the header
  TsharkChecksum checksum = TsharkChecksum::kNone;
};

struct DissectedFrame {
  std::vector<DissectedLayer> layers;  // outermost first
  bool error = false;                  // tshark marks something in it as wrong
  std::string interface = {};          // as the file names it
  std::string comment = {};
};

// The first `most` frames of a capture file, with checksums verified and nothing put together across frames. Skips the test
// where there is no tshark; fails it when tshark cannot read the file.
std::vector<DissectedFrame> Dissect(const std::string& path, int most = 1000);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_TSHARK_H_
