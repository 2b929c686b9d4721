// SPDX-License-Identifier: Apache-2.0
// Frames from one process to another through shared memory, one way, against memif.

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"

namespace sluice::bench {
namespace {

std::string SocketPath(const char* of) {
  return absl::StrCat("/tmp/sluice-bench-", of, "-", getpid(), ".sock");
}

Sampler Ours(uint32_t length) {
  const std::string path = SocketPath("shm");
  const auto end = [&](const char* mode, const char* role, int cpu) {
    return absl::StrCat(BenchProgram("nic/port_peer"), " ", mode, " shm:", path, ",role=", role, " ", length,
                        " ", cpu);
  };
  return TimePerPacket(
      {.measuring = end("receive", "server", MeasuringCpu()), .feeding = end("send", "client", OtherCpu())});
}

// In zero-copy mode the server copies out of the client's own buffers: the client sends.
absl::StatusOr<Sampler> Memif(uint32_t length, bool zero_copy) {
  const std::string huge_dir = dpdk::HugeDir();
  if (huge_dir.empty())
    return absl::UnavailableError("memif needs huge pages, which benchmarks/run.sh lends as root");
  const std::string path = SocketPath("memif");
  const auto vdev = [&](const char* role) {
    return absl::StrCat("net_memif0,role=", role, ",id=0,socket=", path, ",socket-abstract=no,rsize=10");
  };
  dpdk::PortEnd server{.mode = "receive",
                       .vdev = vdev("server"),
                       .cpu = MeasuringCpu(),
                       .length = length,
                       .huge_dir = huge_dir};
  dpdk::PortEnd client{
      .mode = "send", .vdev = vdev("client"), .cpu = OtherCpu(), .length = length, .huge_dir = huge_dir};
  if (zero_copy) client.vdev += ",zero-copy=yes";
  const absl::StatusOr<std::string> measuring = dpdk::Command(server);
  const absl::StatusOr<std::string> feeding = dpdk::Command(client);
  if (!measuring.ok()) return measuring.status();
  return TimePerPacket({.measuring = *measuring, .feeding = *feeding, .left_behind = path});
}

const Registration small({.work = "nic/shm/64",
                          .peer = "net_memif",
                          .peer_mode = "copy, client to server",
                          .goal = 1.5,
                          .open = [] { return MakePair(Ours(64), Memif(64, false)); }});

const Registration large({.work = "nic/shm/1500",
                          .peer = "net_memif",
                          .peer_mode = "zero-copy, client to server",
                          .goal = 1,
                          .open = [] { return MakePair(Ours(1500), Memif(1500, true)); }});

}  // namespace
}  // namespace sluice::bench
