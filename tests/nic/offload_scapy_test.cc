// SPDX-License-Identifier: Apache-2.0
// The offload path with scapy at both ends: it makes what goes in, whole and in segments, and judges what each wire carries.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/nic/offload_path.h"
#include "tests/support/run_scapy.h"
#include "tests/support/seed.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kMss = 400;  // as in the program

std::vector<Train> ScapyTrains(uint64_t seed) {
  std::vector<Train> trains;
  for (const std::string& line : RunScapy(absl::StrCat("nic/scapy_trains.py make ", seed))) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    Train train = {.name = fields.at(0), .mss = kMss, .asks_for_tag = fields.at(1) != "0"};
    train.whole = FromHex(fields.at(2));
    for (size_t i = 3; i < fields.size(); ++i) train.frames.push_back(FromHex(fields[i]));
    trains.push_back(std::move(train));
  }
  return trains;
}

// What scapy says of each frame: its layers, or what is wrong. One run of python for all.
std::vector<std::string> JudgedByScapy(const std::set<Bytes>& frames) {
  const TempFolder folder;
  {
    std::ofstream file(folder.file("frames.txt"));
    for (const Bytes& frame : frames) file << ToHex(frame) << '\n';
  }
  return RunScapy(absl::StrCat("nic/scapy_trains.py judge < ", folder.file("frames.txt")));
}

size_t CountWrong(const std::vector<std::string>& judged) {
  return static_cast<size_t>(std::count_if(judged.begin(), judged.end(), [](const std::string& line) {
    return absl::StartsWith(line, "wrong: ");
  }));
}

// What is asked is dealt over paths and flows: of three neighbouring paths each flow goes by one finished, by one unsummed, by
// one uncut, and another seed deals it otherwise.
TEST_CASE("flows that scapy makes come out of every path as scapy cuts them, and right on every wire") {
  const uint64_t seed = PrintedSeed();
  const std::vector<Train> trains = ScapyTrains(seed % 1'000'000);
  REQUIRE(trains.size() > 20);
  std::set<Bytes> seen;  // the right frames are few, whichever way they went
  size_t joined = 0;
  size_t dealt = seed % std::size(kAllAsks);
  ForEachPath([&](const PathOptions& options) {
    INFO(Text(options));
    Path path(options);
    for (const Train& train : trains) {
      const Asks asks = kAllAsks[dealt++ % std::size(kAllAsks)];
      INFO(train.name << ", asks " << static_cast<int>(asks));
      CHECK((path.Carry(train, asks) == train.frames));
      joined += path.joined();
    }
    for (Bytes& frame : path.Finished()) seen.insert(std::move(frame));
  });
  const std::vector<std::string> judged = JudgedByScapy(seen);
  CHECK(judged.size() == seen.size());
  CHECK(CountWrong(judged) == 0);
  CHECK(joined > 0);
}

TEST_CASE("scapy sees every wrong byte of headers and payload that a checksum covers") {
  std::set<Bytes> wrong;
  for (const Train& train : ScapyTrains(1)) {
    const Bytes& right = train.frames[1];
    const size_t payload = right.size() - kMss;
    for (const size_t at : {right.size() - 1, payload, payload - 2, payload - 8}) {
      Bytes frame = right;
      frame[at] ^= 4;
      wrong.insert(frame);
    }
    wrong.insert(Cut(right, right.size() - 1));
  }
  CHECK(wrong.size() > 100);
  CHECK(CountWrong(JudgedByScapy(wrong)) == wrong.size());
}

}  // namespace
}  // namespace sluice::testing
