// SPDX-License-Identifier: Apache-2.0
// AF_XDP on a veth pair, where the kernel is the limit: the goal is parity with the same loop on bare libxdp and with DPDK's
// net_af_xdp, which within the noise of this measurement is a ratio of 0.9.
//
//   feeding end ── veth "feed" ═══ veth "port" ── measuring end: drops what comes, or sends it back with addresses swapped

#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"
#include "tests/support/netns.h"

namespace sluice::bench {
namespace {

constexpr double kParity = 0.9;
constexpr double kFixedLoad = 100'000;  // frames a second

// A namespace with a cable in it.
struct Cable {
  testing::Namespace where = testing::Namespace::Make("sluice-bench");
  testing::VethPair pair{where, "feed", where, "port"};
};

absl::StatusOr<std::unique_ptr<Cable>> MakeCable() {
  try {
    return std::make_unique<Cable>();
  } catch (const std::runtime_error& error) {
    return absl::InternalError(error.what());
  }
}

// What the measuring end is asked to do, in the words of xdp_end.h.
struct Work {
  std::string mode = "receive";
  uint32_t length = 64;
  bool fixed_load = false;  // and sleeping between frames; the cost is then processor time
};

std::string Flags(const char* program, const char* interface, const Work& work, int cpu) {
  return absl::StrCat(BenchProgram(program), " --interface=", interface, " --length=", work.length,
                      " --cpu=", cpu);
}

// Without a fixed load, frames that the kernel makes itself: no other sender keeps a receiver busy.
std::string Feeder(const Work& work) {
  const std::string flags = Flags("nic/xsk_peer", "feed", work, OtherCpu());
  return absl::StrCat(
      flags, work.fixed_load ? absl::StrCat(" --mode=send --rate=", kFixedLoad) : " --mode=generate");
}

std::string End(const char* program, const Work& work) {
  return absl::StrCat(Flags(program, "port", work, MeasuringCpu()), " --mode=", work.mode,
                      work.fixed_load ? " --wait=sleep" : "");
}

// A cable for each sample: DPDK leaves its program on the interface, and the kernel a queue bound for a while.
Sampler Measuring(const Work& work, const std::string& end) {
  return [work, end]() -> absl::StatusOr<double> {
    const absl::StatusOr<std::unique_ptr<Cable>> cable = MakeCable();
    if (!cable.ok()) return cable.status();
    const Ends ends{.measuring = end,
                    .feeding = Feeder(work),
                    .measuring_in = &(*cable)->where,
                    .feeding_in = &(*cable)->where};
    return work.fixed_load ? ProcessorTimePerPacket(ends)() : TimePerPacket(ends)();
  };
}

absl::StatusOr<Pair> AgainstLibxdp(const Work& work) {
  if (geteuid() != 0) return absl::UnavailableError("needs root, to make a network namespace");
  return Pair{.ours = Measuring(work, End("nic/xdp_port", work)),
              .peer = Measuring(work, End("nic/xsk_peer", work))};
}

absl::StatusOr<Pair> AgainstDpdk(const Work& work) {
  if (geteuid() != 0) return absl::UnavailableError("needs root, to make a network namespace");
  Pair pair{.ours = Measuring(work, End("nic/xdp_port", work))};
  const absl::StatusOr<std::string> peer = dpdk::Command(
      {.mode = work.mode, .vdev = "net_af_xdp0,iface=port", .cpu = MeasuringCpu(), .length = work.length});
  if (peer.ok()) {
    pair.peer = Measuring(work, *peer);
  } else {
    pair.peer = peer.status();
  }
  return pair;
}

Case Libxdp(const char* name, const Work& work) {
  return {.work = name,
          .peer = "libxdp loop",
          .peer_mode = "copy, native, polling",
          .goal = kParity,
          .open = [work] { return AgainstLibxdp(work); }};
}

Case Dpdk(const char* name, const Work& work) {
  return {.work = name,
          .peer = "net_af_xdp",
          .peer_mode = "copy, native, busy_budget 64",
          .goal = kParity,
          .open = [work] { return AgainstDpdk(work); }};
}

Case Sleeping() {
  const Work work{.fixed_load = true};
  return {.work = "nic/xdp/64/cpu_100k",
          .unit = "CPU ns/packet",
          .peer = "libxdp loop",
          .peer_mode = "poll(), 100,000 packets/s",
          .goal = kParity,
          .open = [work] { return AgainstLibxdp(work); }};
}

const Registration drop_64(Libxdp("nic/xdp/64/drop", {.length = 64}));
const Registration drop_1500(Libxdp("nic/xdp/1500/drop", {.length = 1500}));
const Registration forward_64(Libxdp("nic/xdp/64/forward", {.mode = "forward", .length = 64}));
const Registration forward_1500(Libxdp("nic/xdp/1500/forward", {.mode = "forward", .length = 1500}));
const Registration dpdk_drop_64(Dpdk("nic/xdp/64/drop", {.length = 64}));
const Registration dpdk_drop_1500(Dpdk("nic/xdp/1500/drop", {.length = 1500}));
const Registration dpdk_forward_64(Dpdk("nic/xdp/64/forward", {.mode = "forward", .length = 64}));
const Registration dpdk_forward_1500(Dpdk("nic/xdp/1500/forward", {.mode = "forward", .length = 1500}));
const Registration sleeping(Sleeping());

}  // namespace
}  // namespace sluice::bench
