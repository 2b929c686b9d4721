// SPDX-License-Identifier: Apache-2.0
// Guest to guest through the host, against those who do the same: Open vSwitch, which switches too, and DPDK's vhost in a
// loop that only passes on. The guests are two virtio_user ports of one DPDK process, between which frames circulate:
//
//      ┌───▶ guest 0 ──▶ host, which is measured ──▶ guest 1 ───┐
//      └──────────── the guests' process ◀──────────────────────┘
//
// busy: what a frame costs the host, in ticks of turns that moved frames. rate: the time of a frame, as the guests see it.

#include <unistd.h>

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"
#include "tests/support/process.h"

namespace sluice::bench {
namespace {

constexpr const char* kSeconds = "0.5";
constexpr uint32_t kUncut =
    14 + 40 + 45 * 1448;  // TCP's segments that a guest sends as one: 64 KB less what is left over

struct Work {
  uint32_t length = 64;
  bool rate = false;

  bool uncut() const { return length == kUncut; }
  // As many as there are descriptors for.
  uint32_t under_way() const { return uncut() ? 32 : 512; }
  // Guests' buffers for long frames are pages.
  uint32_t room() const { return uncut() ? 4096 : 2048; }
};

std::string Folder() { return absl::StrCat("/tmp/sluice-bench-guests-", getpid()); }

std::array<std::string, 2> Sockets() { return {Folder() + "/guest0", Folder() + "/guest1"}; }

absl::StatusOr<std::string> Guests(const Work& work) {
  const std::string huge_dir = dpdk::HugeDir();
  if (huge_dir.empty())
    return absl::UnavailableError("virtio_user needs huge pages, which benchmarks/run.sh lends as root");
  dpdk::PortPair guests{.mode = "circle",
                        .vdevs = {},
                        .cpu = work.rate ? MeasuringCpu() : OtherCpu(),
                        .length = work.length,
                        .huge_dir = huge_dir,
                        .feeds = !work.rate,
                        .tso = work.uncut(),
                        .under_way = work.under_way(),
                        .room = work.room()};
  for (size_t i = 0; i < 2; ++i) {
    guests.vdevs[i] = absl::StrCat("net_virtio_user", i, ",path=", Sockets()[i],
                                   ",queues=1,queue_size=1024,mac=02:00:00:00:00:0", 2 - i);
  }
  return dpdk::Command(guests);
}

// One sample behind `host`, a command; of rate when the guests measure, and else of the host's busy ticks.
absl::StatusOr<Sampler> Behind(const absl::StatusOr<std::string>& host, const Work& work) {
  const absl::StatusOr<std::string> guests = Guests(work);
  if (!host.ok()) return host.status();
  if (!guests.ok()) return guests.status();
  const Ends ends{.measuring = work.rate ? *guests : *host,
                  .feeding = work.rate ? *host : *guests,
                  .feeder_first = work.rate,
                  .folder = Folder()};
  const Sampler frame = work.rate ? TimePerPacket(ends) : BusyTicksPerPacket(ends);
  if (!work.uncut()) return frame;
  return Sampler([frame]() -> absl::StatusOr<double> {
    const absl::StatusOr<double> cost = frame();
    if (!cost.ok()) return cost.status();
    return *cost * 1024 / kUncut;
  });
}

int HostCpu(const Work& work) { return work.rate ? OtherCpu() : MeasuringCpu(); }

absl::StatusOr<Sampler> Ours(const Work& work) {
  return Behind(absl::StrCat(BenchProgram("host/guest_switch"), work.rate ? " poll " : " busy ", work.length,
                             " ", HostCpu(work), " vhost:", absl::StrJoin(Sockets(), " vhost:")),
                work);
}

absl::StatusOr<Sampler> DpdkVhost(const Work& work) {
  dpdk::PortPair host{.mode = "bridge",
                      .vdevs = {},
                      .cpu = HostCpu(work),
                      .length = work.length,
                      .feeds = work.rate,
                      .room = work.room()};
  for (size_t i = 0; i < 2; ++i) {
    host.vdevs[i] = absl::StrCat("net_vhost", i, ",iface=", Sockets()[i], ",queues=1",
                                 work.uncut() ? ",tso=1,legacy-ol-flags=1" : "");
  }
  return Behind(dpdk::Command(host), work);
}

absl::StatusOr<Sampler> OpenVswitch(const Work& work) {
  if (!testing::RunCommand("command -v ovs-vsctl && ls /usr/lib/openvswitch-switch-dpdk").ok())
    return absl::UnavailableError("the peer is Open vSwitch: install openvswitch-switch-dpdk");
  return Behind(absl::StrCat("sh ", SLUICE_BENCH_SOURCES, "/host/ovs_end.sh ", Folder(), " ", HostCpu(work),
                             " ", work.rate ? "0" : kSeconds),
                work);
}

using Peer = absl::StatusOr<Sampler> (*)(const Work&);

Registration Row(const Work& work, Peer peer, double goal) {
  const std::string what = work.uncut() ? "uncut" : absl::StrCat(work.length);
  const std::string unit = absl::StrCat(work.rate ? "ns" : "busy ticks", work.uncut() ? "/KiB" : "/packet");
  return Registration({.work = absl::StrCat("host/guests/", what, work.rate ? "/rate" : "/busy"),
                       .unit = unit,
                       .peer = peer == OpenVswitch ? "Open vSwitch" : "net_vhost",
                       .peer_mode = peer == OpenVswitch ? "DPDK, in_port, one PMD"
                                    : work.uncut()      ? "io between two ports, tso"
                                                        : "io between two ports",
                       .goal = goal,
                       .open = [work, peer] { return MakePair(Ours(work), peer(work)); }});
}

const Registration rows[] = {
    Row({.length = 64}, OpenVswitch, 3),
    Row({.length = 1518}, OpenVswitch, 2),
    Row({.length = 64}, DpdkVhost, 1.2),
    Row({.length = 1518}, DpdkVhost, 1.2),
    Row({.length = kUncut}, DpdkVhost, 1.8),
    // Short frames the guests cannot move as fast as either host: no slower, but for what two runs differ.
    Row({.length = 64, .rate = true}, DpdkVhost, 0.95),
    Row({.length = 1518, .rate = true}, DpdkVhost, 1.2),
    Row({.length = kUncut, .rate = true}, DpdkVhost, 1.8),
};

}  // namespace
}  // namespace sluice::bench
