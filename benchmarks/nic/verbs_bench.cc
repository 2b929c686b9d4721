// SPDX-License-Identifier: Apache-2.0
// What a verbs port costs: the backend by itself, the same over software devices, and against perftest on those devices.

#include <infiniband/verbs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/measuring_end.h"
#include "benchmarks/nic/hollow_device.h"
#include "benchmarks/paired.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/nic/software_verbs.h"
#include "sluice/nic/verbs_nic.h"
#include "tests/support/process.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kFrame = HollowDevice::kFrame;
constexpr size_t kBurst = HollowDevice::kBurst;
// UDP in IPv4, as what port_peer sends: for its checksums the device looks into each. So many that what the cable takes to
// come up does not count. No rings from 128 to 1024 or lists from 16 to 64 were faster, inline or not, promiscuous or not.
constexpr char kPerftestOptions[] =
    " -n 4000000 -N --post_list=32 --recv_post_list=32 -t 512 -r 128"
    " -j 10.0.0.2 -J 10.0.0.1 -k 5000 -K 5001";

// Verbs ports on software devices of this process, started, with the pool that they draw from.
class Ports {
 public:
  Ports() = default;
  ~Ports() { HollowDevice::FallSilent(); }
  Ports(const Ports&) = delete;
  Ports& operator=(const Ports&) = delete;

  absl::Status Add(std::unique_ptr<Wire> wire, const VerbsNicOptions& options, bool hollow) {
    if (absl::Status made = MakePool(); !made.ok()) return made;
    Port& port = ports_.emplace_back();
    absl::StatusOr<std::unique_ptr<SoftwareVerbs>> device = SoftwareVerbs::Create({}, std::move(wire));
    if (!device.ok()) return device.status();
    port.device = *std::move(device);
    port.context.reset(ibv_open_device(port.device->device()));
    if (port.context == nullptr)
      return absl::UnavailableError("libibverbs does not open the software device");
    VerbsNicOptions here = options;
    here.device = "soft0";
    here.context = port.context.get();
    absl::StatusOr<std::unique_ptr<VerbsNic>> nic = OpenVerbsNic(here);
    if (!nic.ok()) return nic.status();
    port.nic = *std::move(nic);
    if (hollow) HollowDevice::PutInto(*port.context);
    return port.nic->Start({.pool = pool_.get()});
  }

  // Sends a burst out of the first port.
  void Prime() {
    Burst burst;
    pool_->Get(burst, kBurst);
    for (Packet* packet : burst) {
      std::memcpy(packet->data(), kTestFrame, kFrame);
      packet->SetLength(kFrame);
    }
    while (!burst.empty()) ports_.front().nic->tx(QueueId{0}).Send(burst);
  }

  // Each port sends what it receives; returns how many packets went through.
  size_t Turn() {
    size_t sent = 0;
    for (Port& port : ports_) {
      Burst burst;
      port.nic->rx(QueueId{0}).Receive(burst);
      while (!burst.empty()) sent += port.nic->tx(QueueId{0}).Send(burst);
    }
    return sent;
  }

 private:
  struct CloseContext {
    void operator()(ibv_context* context) const { ibv_close_device(context); }
  };
  struct Port {
    std::unique_ptr<SoftwareVerbs> device;
    std::unique_ptr<ibv_context, CloseContext> context;
    std::unique_ptr<VerbsNic> nic;
  };

  absl::Status MakePool() {
    if (pool_ != nullptr) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({});
    if (pool.ok()) pool_ = *std::move(pool);
    return pool.status();
  }

  std::unique_ptr<PacketPool> pool_;
  std::vector<Port> ports_;
};

Sampler Cycles(std::shared_ptr<Ports> ports) {
  return CyclesPer([ports = std::move(ports)](size_t n) {
    for (size_t done = 0; done < n;) done += ports->Turn();
  });
}

// What the port posts never reaches the software device, which is opened, asked and closed, and nothing else.
absl::StatusOr<Sampler> Backend(const VerbsNicOptions& options) {
  auto ports = std::make_shared<Ports>();
  if (absl::Status added = ports->Add(MakeNullWire(), options, true); !added.ok()) return added;
  return Cycles(std::move(ports));
}

// Two ports on a cable, a burst of 32 under way between them.
absl::StatusOr<Sampler> PairIo() {
  auto ports = std::make_shared<Ports>();
  auto [here, there] = MakeWirePair();
  for (std::unique_ptr<Wire>* wire : {&here, &there}) {
    if (absl::Status added = ports->Add(std::move(*wire), {}, false); !added.ok()) return added;
  }
  ports->Prime();
  return Cycles(std::move(ports));
}

// Two software devices with a cable between processes, for programs that are started with them.
class Cable {
 public:
  Cable() : folder_(absl::StrCat("/tmp/sluice-bench-verbs-", getpid())) {
    std::filesystem::create_directories(folder_);
    std::ofstream config(folder_ + "/conf");
    config << "device soft0\n  mac " << kMac[0] << "\n  wire shm " << socket() << " server\n"
           << "device soft1\n  mac " << kMac[1] << "\n  wire shm " << socket() << " client\n";
  }
  ~Cable() { std::filesystem::remove_all(folder_); }
  Cable(const Cable&) = delete;
  Cable& operator=(const Cable&) = delete;

  static constexpr const char* kMac[] = {"02:00:00:00:00:01", "02:00:00:00:00:02"};

  std::string socket() const { return folder_ + "/cable"; }
  std::string With(const std::string& command) const {
    return absl::StrCat(SLUICE_SOFTVERBS_LAUNCHER, " ", folder_, "/conf -- ", command);
  }

 private:
  const std::string folder_;
};

Sampler BetweenProcesses(const std::shared_ptr<Cable>& cable) {
  const auto end = [&](const char* mode, const char* device, int cpu) {
    return cable->With(
        absl::StrCat(BenchProgram("nic/port_peer"), " ", mode, " rdma:", device, "/1 ", kFrame, " ", cpu));
  };
  Sampler sampler = TimePerPacket({.measuring = end("receive", "soft0", MeasuringCpu()),
                                   .feeding = end("send", "soft1", OtherCpu()),
                                   .left_behind = cable->socket()});
  return [cable, sampler] { return sampler(); };
}

// perftest sends one way, and tells the rate: the last number behind the size of the frames.
absl::StatusOr<double> RunPerftest(const Cable& cable) {
  const auto end = [&](const char* role, int cpu, int device) {
    return absl::StrCat(
        "exec taskset -c ", cpu, " ",
        cable.With(absl::StrCat("raw_ethernet_bw ", role, " -d soft", device, " -B ", Cable::kMac[device],
                                " -E ", Cable::kMac[1 - device], " -s ", kFrame, kPerftestOptions)));
  };
  testing::Process server = testing::Process::Command(end("--server", MeasuringCpu(), 0));
  const testing::CommandResult client = testing::RunCommand(end("--client", OtherCpu(), 1));
  std::smatch rate;
  static const std::regex line(absl::StrCat("\n *", kFrame, " .* ([0-9.]+) *\n"));
  const double millions = std::regex_search(client.output, rate, line) ? std::stod(rate[1]) : 0;
  if (server.Wait(absl::Seconds(10)) != 0 || millions == 0) {
    return absl::InternalError("raw_ethernet_bw did not do its part; it printed:\n" + client.output +
                               server.Output());
  }
  return 1000 / millions;
}

absl::StatusOr<Sampler> Perftest(const std::shared_ptr<Cable>& cable) {
  if (!testing::RunCommand("command -v raw_ethernet_bw").ok())
    return absl::UnavailableError("install perftest");
  return Sampler([cable] { return RunPerftest(*cable); });
}

Case InCycles(const char* work, double goal, std::function<absl::StatusOr<Sampler>()> ours) {
  return {.work = work, .unit = "cycles/packet", .goal = goal, .open = [ours] {
            return MakePair(ours(), Sampler());
          }};
}

// Receive and send: by the plain calls, and as a port does where the card has the extended ones, of which sending takes two
// for each frame. No rule marks.
const Registration backend(InCycles("nic/verbs/64/backend", 40,
                                    [] { return Backend({.marks = false, .extended_send = Want::kOff}); }));
const Registration extended(InCycles("nic/verbs/64/backend_extended", 40, [] { return Backend({}); }));
const Registration processes({.work = "nic/verbs/64/processes",
                              .peer = "raw_ethernet_bw",
                              .peer_mode = "UDP, post list 32, 128 receives",
                              .goal = 1.5,
                              .open = [] {
                                const auto cable = std::make_shared<Cable>();
                                return MakePair(BetweenProcesses(cable), Perftest(cable));
                              }});
const Registration pair_io(InCycles("nic/verbs/64/io", 0, PairIo));

}  // namespace
}  // namespace sluice::bench
