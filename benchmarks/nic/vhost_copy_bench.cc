// SPDX-License-Identifier: Apache-2.0
// What it costs a vhost-user port to leave its copies to an engine, against its own copies. The engines at hand copy by processor
// too: what is seen is the price of submitting, remembering and asking, of which hardware would have to save more.

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "benchmarks/dpdk/peers.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kLength = 1518;

std::string SocketPath() { return absl::StrCat("/tmp/sluice-bench-copies-", getpid(), ".sock"); }

absl::StatusOr<std::string> Guest() {
  const std::string huge_dir = dpdk::HugeDir();
  if (huge_dir.empty())
    return absl::UnavailableError("virtio_user needs huge pages, which benchmarks/run.sh lends as root");
  return dpdk::Command(
      {.mode = "receive",
       .vdev = absl::StrCat("net_virtio_user0,path=", SocketPath(), ",queues=1,queue_size=1024"),
       .cpu = OtherCpu(),
       .length = kLength,
       .huge_dir = huge_dir});
}

absl::StatusOr<Sampler> SendingBy(const char* engine) {
  const absl::StatusOr<std::string> guest = Guest();
  if (!guest.ok()) return guest.status();
  return BusyTicksPerPacket(
      {.measuring = absl::StrCat(BenchProgram("nic/port_peer"), " send vhost:", SocketPath(),
                                 ",copy-engine=", engine, " ", kLength, " ", MeasuringCpu(), " --busy"),
       .feeding = *guest,
       .left_behind = SocketPath()});
}

Registration Row(const char* engine) {
  return Registration({.work = absl::StrCat("nic/vhost/copies/", kLength, "/", engine, "_engine"),
                       .unit = "busy ticks/packet",
                       .peer = "sluice",
                       .peer_mode = "no engine",
                       .goal = 0,
                       .open = [engine] { return MakePair(SendingBy(engine), SendingBy("off")); }});
}

const Registration rows[] = {Row("cpu"), Row("model")};

}  // namespace
}  // namespace sluice::bench
