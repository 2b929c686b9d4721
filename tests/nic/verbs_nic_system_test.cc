// SPDX-License-Identifier: Apache-2.0
// Kernels as judges of a verbs port: a software verbs device whose cable is a veth pair, and a kernel's stack behind it.
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "sluice/nic/packet_socket_wire.h"
#include "tests/nic/kernel_bridge.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

// Opens a verbs port on the interface port0; outlives it.
class Uplink {
 public:
  explicit Uplink(const SoftwareVerbsHardware& hardware = {}) : hardware_(hardware) {}

  std::unique_ptr<Nic> Open() {
    auto wire = MakePacketSocketWire({.interface = "port0"});
    if (!wire.ok()) throw std::runtime_error(wire.status().ToString());
    soft_ = std::make_unique<SoftContext>(SoftwareVerbsOptions{.hardware = hardware_}, *std::move(wire));
    return OpenOn(*soft_, {.device = "soft0", .mac = MacAddress({2, 0, 0, 0, 0, 1})});
  }
  BridgeOptions Bridge() {
    return {.open_right = [this] { return Open(); }};
  }
  SoftwareVerbsStats stats() const { return soft_->device().stats(); }

 private:
  const SoftwareVerbsHardware hardware_;
  std::unique_ptr<SoftContext> soft_;
};

}  // namespace

TEST_CASE("a kernel's stack behind a verbs port answers pings, long ones too") {
  Uplink uplink;
  const KernelBridge bridge(uplink.Bridge());
  const CommandResult ping = bridge.left.Run("ping -c 20 -i 0.01 -s 1400 10.0.0.2");
  INFO(ping.output);
  CHECK_THAT(ping.output, Catch::Contains(" 0% packet loss"));
  CHECK(bridge.WrongFrames() == 0);
}

TEST_CASE("big sends of a kernel reach another through a verbs port whole, with no frame wrong") {
  const bool poor = GENERATE(false, true);
  CAPTURE(poor);
  Uplink uplink(poor ? SoftwareVerbsHardware::Poor() : SoftwareVerbsHardware{});
  const KernelBridge bridge(uplink.Bridge());
  CheckWhole(bridge, SendStream(bridge, 16'000'000));
  CHECK(bridge.longest_uncut() > KernelBridge::kUncut);
  CHECK(bridge.MeanFrameAtRight() <= 1514);
  CHECK(uplink.stats().drops.total() == 0);
}

TEST_CASE("datagrams that a kernel left to be cut reach another through a verbs port") {
  Uplink uplink;
  BridgeOptions options = uplink.Bridge();
  options.left_tap = {.uso = Want::kRequire};
  const KernelBridge bridge(options);
  CheckWhole(bridge, SendDatagrams(bridge, 20, 46));
  CHECK(bridge.uncut() >= 20);
}

TEST_CASE("a file comes to a kernel from behind a verbs port, and iperf3 runs both ways") {
  Uplink uplink;
  const KernelBridge bridge(uplink.Bridge());
  const TempFolder folder;
  const std::string file = folder.file("file");
  bridge.right.MustRun("head -c 4000000 /dev/urandom > " + file);
  const Process files =
      bridge.right.Start("python3 -u -m http.server --bind 10.0.0.2 8000 --directory " + folder.path());
  REQUIRE(files.WaitForOutput("Serving", absl::Seconds(20)));
  CHECK(bridge.left.MustRun("curl -s --max-time 60 http://10.0.0.2:8000/file | cmp - " + file +
                            " && echo same") == "same\n");
  const Process iperf = bridge.right.Start("iperf3 --forceflush -s");
  REQUIRE(iperf.WaitForOutput("listening", absl::Seconds(20)));
  for (const std::string way : {"", " -R"}) {
    bridge.left.MustRun("for i in 1 2 3 4 5; do iperf3 -c 10.0.0.2 -n 8M" + way +
                        " && exit 0; sleep 0.3; done; exit 1");
  }
  CHECK(bridge.WrongFrames() == 0);
  CHECK(bridge.Drops() == "");
}

}  // namespace sluice::testing
