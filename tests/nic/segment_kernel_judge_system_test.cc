// SPDX-License-Identifier: Apache-2.0
// Kernels as judges of segments, coalesced packets and tunnels: streams of theirs go through the library, which cuts and
// joins them, and have to arrive whole, with not one frame counted as wrong.
#include <catch2/catch.hpp>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "sluice/packet/coalesce.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"
#include "tests/nic/kernel_bridge.h"
#include "tests/support/tshark.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

constexpr size_t kStream = 16'000'000;
const TapWireOptions kFinished = {.checksums = Want::kOff, .tso = Want::kOff, .uso = Want::kOff};

// What crosses the right interface, on file.
class Tap {
 public:
  explicit Tap(const KernelBridge& bridge)
      : dump_(bridge.right.Start("tcpdump -Z root -i " + bridge.right_interface + " -s 0 -U -w " + file())) {
    REQUIRE(dump_.WaitForOutput("listening", absl::Seconds(10)));
  }
  // How many of the first frames tshark finds right, and wrong.
  struct Verdicts {
    size_t good = 0, bad = 0;
  };
  Verdicts Judge() {
    dump_.Signal(SIGINT);
    dump_.Wait(absl::Seconds(10));
    Verdicts verdicts;
    for (const DissectedFrame& frame : Dissect(file(), 500)) {
      bool bad = false, good = false;
      for (const DissectedLayer& layer : frame.layers) {
        bad |= layer.checksum == TsharkChecksum::kBad || layer.checksum == TsharkChecksum::kIllegal;
        good |= layer.checksum == TsharkChecksum::kGood;
      }
      verdicts.bad += bad;
      verdicts.good += good && !bad;
    }
    return verdicts;
  }

 private:
  std::string file() const { return folder_.file("crossed.pcap"); }

  TempFolder folder_;
  Process dump_;
};

// Joins what comes, and asks for it to be cut again.
Stage Coalescing() {
  const std::shared_ptr<Coalescer> coalescer =
      *Coalescer::Create({.max_age = absl::Microseconds(200), .udp = false});
  return [coalescer](Burst& in, Burst& out) {
    const Nanoseconds now = Clock::Monotonic().Now();
    for (Packet* packet : in) (void)Parse(*packet);
    coalescer->Add(in, now, out);
    if (in.empty()) coalescer->Flush(now, out);
    for (Packet* packet : out) {
      if (packet->coalesced_segments() < 2) continue;
      packet->offload.segment = packet->offload.l4_checksum = true;
      packet->offload.mss = packet->coalesced_size();
      packet->offload.fixed_ids = packet->coalesced_ids();
    }
  };
}

}  // namespace

TEST_CASE("big sends of a kernel, cut by the library, reach another whole, with no frame wrong") {
  const bool tap = GENERATE(false, true);
  CAPTURE(tap);
  const KernelBridge bridge({.right_is_tap = tap, .right_tap = kFinished});
  CheckWhole(bridge, SendStream(bridge, kStream));
  CHECK(bridge.uncut() > 100);
  CHECK(bridge.MeanFrameAtRight() <= 1514);
  CHECK(bridge.longest_uncut() > KernelBridge::kUncut);
  // Of 11,000. On a slow machine a sender takes for lost what is late.
  CHECK(bridge.Counter("TcpRetransSegs") < 100);
}

TEST_CASE("from TAP to TAP big sends go uncut") {
  const KernelBridge bridge({.right_is_tap = true});
  CheckWhole(bridge, SendStream(bridge, kStream));
  CHECK(bridge.uncut() > 100);
  CHECK(bridge.MeanFrameAtRight() > 5000);
}

TEST_CASE("what a kernel left to be cut into datagrams arrives as those datagrams, cut here or uncut") {
  const bool tap = GENERATE(false, true);
  CAPTURE(tap);
  KernelBridge bridge({.left_tap = {.uso = Want::kRequire}, .right_is_tap = tap});
  CheckWhole(bridge, SendDatagrams(bridge, 20, 46));
  CHECK(bridge.uncut() >= 20);
}

TEST_CASE("plain segments, joined on the way and cut again, reach the other kernel whole") {
  const bool tap = GENERATE(false, true);
  CAPTURE(tap);
  const KernelBridge bridge({.left_tap = kFinished, .right_is_tap = tap, .to_right = Coalescing()});
  CheckWhole(bridge, SendStream(bridge, kStream));
  CHECK(bridge.uncut() == 0);
  if (tap) CHECK(bridge.MeanFrameAtRight() > 2000);
}

TEST_CASE("tshark finds no wrong checksum in segments that were cut here") {
  const KernelBridge bridge;
  Tap tap(bridge);
  CheckWhole(bridge, SendStream(bridge, 2'000'000));
  const Tap::Verdicts verdicts = tap.Judge();
  CHECK(verdicts.bad == 0);
  CHECK(verdicts.good > 200);
}

TEST_CASE("the judges judge: checksums spoilt on the way are counted by kernel and tshark") {
  const KernelBridge bridge({.around_right = Marring});
  Tap tap(bridge);
  const Transfer stream = SendStream(bridge, 2'000'000);
  CHECK(stream.received == stream.sent);  // TCP sends again
  CHECK(bridge.Counter("TcpInCsumErrors") > 0);
  CHECK(bridge.WrongFrames() > 0);
  CHECK(tap.Judge().bad > 0);
  const Transfer datagrams = SendDatagrams(bridge, 5, 46);
  CHECK(datagrams.received != datagrams.sent);
  CHECK(bridge.Counter("UdpInCsumErrors") > 0);
}

}  // namespace sluice::testing
