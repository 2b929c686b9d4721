// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_OFFLOAD_PATH_H_
#define SLUICE_TESTS_NIC_OFFLOAD_PATH_H_

// A way for frames across three wires and two hops, whose dimensions are what wires carry and ports can do:
//
//   sender ══ wire 1 ══▶ port with or without LRO ─▶ port with more or less hardware ══ wire 2 ══▶ port ─▶ port ══ cable ══▶

#include <array>
#include <string>
#include <vector>

#include "tests/nic/model_pair.h"

namespace sluice::testing {

inline constexpr PairOptions kCable = {
    .name = "cable", .carries_offloads = false, .carries_fragments = false};

struct Hardware {
  const char* name;
  ModelHardware able;
};
inline const Hardware kHardware[] = {{"able", {}},
                                     {"without TSO", {.segmentation = false}},
                                     {"without checksums", {.send_checksums = false}},
                                     {"poor", ModelHardware::Poor()}};

struct WireKind {
  const char* name;
  PairOptions options;
};
inline const WireKind kWires[] = {{"memory", {}},
                                  {"memory in one piece", {.carries_fragments = false}},
                                  {"finished frames in pieces", {.carries_offloads = false}},
                                  {"cable", kCable}};

struct PathOptions {
  WireKind first;
  WireKind second;
  Hardware hardware;
  bool lro;
};

std::string Text(const PathOptions& options);

// One flow: in one frame that is too long for a wire, and as whoever sends it has to see it come out.
struct Train {
  std::string name;
  uint16_t mss = 0;
  Bytes whole = {};
  std::vector<Bytes> frames = {};
  bool asks_for_tag = false;  // the sender leaves the first VLAN tag to be put in
};

// What a sender leaves to be done.
enum class Asks { kNothing, kChecksums, kSegments };
inline constexpr Asks kAllAsks[] = {Asks::kNothing, Asks::kChecksums, Asks::kSegments};

class Path {
 public:
  explicit Path(const PathOptions& options);

  // Sends one train as `asks` says, to the other end; returns the frames there.
  std::vector<Bytes> Carry(const Train& train, Asks asks);
  // Of the last train: whether the first hop got fewer packets than frames were sent.
  bool joined() const { return joined_; }

  // Everything seen on a wire that carries nothing unfinished, and all that was finished on the others.
  std::vector<Bytes> Finished() const;

 private:
  std::array<Recording, 3> recordings_;
  const std::array<PairOptions, 3> wires_;
  ModelPair first_;
  ModelPair second_;
  ModelPair third_;
  bool joined_ = false;
};

// Runs `visit` with the options of every path.
template <typename Visit>
void ForEachPath(Visit visit) {
  for (const WireKind& first : kWires) {
    for (const WireKind& second : kWires) {
      for (const bool lro : {false, true}) {
        for (const Hardware& hardware : kHardware) visit(PathOptions{first, second, hardware, lro});
      }
    }
  }
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_OFFLOAD_PATH_H_
