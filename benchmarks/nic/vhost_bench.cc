// SPDX-License-Identifier: Apache-2.0
// What a guest's frames cost the host's side, either way, against DPDK's vhost. The guest is DPDK's virtio_user in both, in a
// process of its own; it may be what limits the rate, so the host's busy ticks are compared beside it: rates by who receives.

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"

namespace sluice::bench {
namespace {

struct Work {
  bool packed = false;
  bool enqueue = false;  // host to guest
  uint32_t length = 64;
  bool rate = false;

  const char* host_mode() const { return enqueue ? "send" : "receive"; }
  const char* guest_mode() const { return enqueue ? "receive" : "send"; }
  bool host_measures() const { return !rate || !enqueue; }
  int host_cpu() const { return host_measures() ? MeasuringCpu() : OtherCpu(); }
  int guest_cpu() const { return host_measures() ? OtherCpu() : MeasuringCpu(); }
};

std::string SocketPath() { return absl::StrCat("/tmp/sluice-bench-vhost-", getpid(), ".sock"); }

// The vectorised driver of packed rings wants frames in one buffer each, in order.
absl::StatusOr<std::string> Guest(const Work& work) {
  const std::string huge_dir = dpdk::HugeDir();
  if (huge_dir.empty())
    return absl::UnavailableError("virtio_user needs huge pages, which benchmarks/run.sh lends as root");
  return dpdk::Command(
      {.mode = work.guest_mode(),
       .vdev = absl::StrCat("net_virtio_user0,path=", SocketPath(), ",queues=1,queue_size=1024",
                            work.packed ? ",packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1" : ""),
       .cpu = work.guest_cpu(),
       .length = work.length,
       .huge_dir = huge_dir});
}

absl::StatusOr<Sampler> BehindHost(const absl::StatusOr<std::string>& host, const Work& work) {
  const absl::StatusOr<std::string> guest = Guest(work);
  if (!host.ok()) return host.status();
  if (!guest.ok()) return guest.status();
  const Ends ends{.measuring = work.host_measures() ? *host : *guest,
                  .feeding = work.host_measures() ? *guest : *host,
                  .feeder_first = !work.host_measures(),
                  .left_behind = SocketPath()};
  return work.rate ? TimePerPacket(ends) : BusyTicksPerPacket(ends);
}

// Copies all frames, as the peer does.
absl::StatusOr<Sampler> Ours(const Work& work) {
  return BehindHost(absl::StrCat(BenchProgram("nic/port_peer"), " ", work.host_mode(),
                                 " vhost:", SocketPath(), ",packed=prefer,copy-up-to=1600 ", work.length, " ",
                                 work.host_cpu(), work.rate ? "" : " --busy"),
                    work);
}

absl::StatusOr<Sampler> DpdkVhost(const Work& work) {
  return BehindHost(dpdk::Command({.mode = work.host_mode(),
                                   .vdev = absl::StrCat("net_vhost0,iface=", SocketPath(), ",queues=1"),
                                   .cpu = work.host_cpu(),
                                   .length = work.length,
                                   .busy = !work.rate}),
                    work);
}

Registration Row(const Work& work, double goal) {
  return Registration(
      {.work = absl::StrCat("nic/vhost/", work.packed ? "packed" : "split", "/", work.length, "/",
                            work.enqueue ? "enqueue" : "dequeue", work.rate ? "_rate" : ""),
       .unit = work.rate ? "ns/packet" : "busy ticks/packet",
       .peer = "net_vhost",
       .peer_mode = work.packed ? "in order, vectorised guest" : "default guest",
       .goal = goal,
       .open = [work] { return MakePair(Ours(work), DpdkVhost(work)); }});
}

const Registration rows[] = {
    Row({.length = 64}, 2),
    Row({.enqueue = true, .length = 64}, 2),
    Row({.packed = true, .length = 64}, 1.5),
    Row({.packed = true, .enqueue = true, .length = 64}, 1.5),
    Row({.length = 1518}, 1.3),
    Row({.enqueue = true, .length = 1518}, 1.3),
    // No slower; where the guest is what limits, as fast but for what two runs differ.
    Row({.length = 64, .rate = true}, 0.95),
    Row({.enqueue = true, .length = 64, .rate = true}, 0.95),
    Row({.packed = true, .length = 64, .rate = true}, 0.95),
    Row({.packed = true, .enqueue = true, .length = 64, .rate = true}, 0.95),
};

}  // namespace
}  // namespace sluice::bench
