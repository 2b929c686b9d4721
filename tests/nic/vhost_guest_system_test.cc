// SPDX-License-Identifier: Apache-2.0
// Linux guests under QEMU on vhost-user ports: their drivers, their emulator and their kernels judge what is served to them, and
// a kernel here what comes out of them.
//
//   guest's kernel ═ virtio ═ VhostNic ─ NicPatch ─ ModelNic ═ tap0 ═ outside's kernel
//     10.0.0.2                                   └─ VhostNic ═ virtio ═ another guest's kernel     10.0.0.1
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/tap_wire.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/guest_house.h"
#include "tests/nic/nic_patch.h"
#include "tests/support/guest.h"
#include "tests/support/netns.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kManyFrames = 16'000;  // bytes: a packet longer than this was not cut on the way

// Of a list of words.
bool Has(const std::string& list, const std::string& word) {
  return absl::StrContains(absl::StrCat(" ", list, " "), absl::StrCat(" ", word, " "));
}

struct Variant {
  std::string name;
  GuestNic nic;
  std::vector<std::string> with;
  std::vector<std::string> without;
};

constexpr const char* kNoTsoIn = "guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";
constexpr const char* kNoSums =
    "csum=off,gso=off,guest_csum=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,";

std::vector<Variant> RingVariants() {
  return {
      {"as QEMU has it",
       {},
       {"MRG_RXBUF", "CSUM", "HOST_TSO4", "EVENT_IDX", "INDIRECT_DESC"},
       {"RING_PACKED"}},
      {"packed", {"packed=on"}, {"RING_PACKED", "EVENT_IDX"}, {}},
      {"packed, flags", {"packed=on,event_idx=off,indirect_desc=off"}, {"RING_PACKED"}, {"EVENT_IDX"}},
      {"flags, no tables", {"event_idx=off,indirect_desc=off"}, {}, {"EVENT_IDX", "INDIRECT_DESC"}},
      {"two pairs", {"", 2}, {"MQ"}, {}},
      {"four pairs, packed", {"packed=on", 4}, {"MQ", "RING_PACKED"}, {}},
  };
}

std::vector<Variant> FrameVariants() {
  return {
      {"unmerged", {"mrg_rxbuf=off"}, {"GUEST_TSO4"}, {"MRG_RXBUF"}},
      {"unmerged, cut", {absl::StrCat("mrg_rxbuf=off,", kNoTsoIn)}, {}, {"MRG_RXBUF", "GUEST_TSO4"}},
      {"nothing left to do",
       {absl::StrCat(kNoSums, kNoTsoIn)},
       {},
       {"CSUM", "GUEST_CSUM", "HOST_TSO4", "GUEST_TSO4"}},
      {"QEMU listens", {"", 1, true}, {"VERSION_1"}, {}},
  };
}

void CheckVariant(const Variant& variant) {
  INFO(variant.name);
  House house(variant.nic, {.packed = Want::kPrefer});
  house.CheckTraffic();
  const VhostReport report = house.Report();
  INFO(report.features);
  for (const std::string& feature : variant.with) CHECK(Has(report.features, feature));
  for (const std::string& feature : variant.without) CHECK_FALSE(Has(report.features, feature));
  CHECK(report.bad_messages == 0);
  CHECK(report.pairs_enabled >= 1);
}

TEST_CASE("a guest exchanges every byte with a kernel outside, whatever its rings are like",
          "[vhost][guest]") {
  for (const Variant& variant : FirstKinds(RingVariants())) CheckVariant(variant);
}

TEST_CASE("a guest exchanges every byte with a kernel outside, whatever frames it agrees to",
          "[vhost][guest]") {
  for (const Variant& variant : FirstKinds(FrameVariants())) CheckVariant(variant);
}

TEST_CASE(
    "a guest that libvirt starts with the card of the README is served, whichever end of the socket listens",
    "[vhost][guest]") {
  for (const bool listens : {false, true}) {
    INFO("libvirt listens: " << listens);
    House house({.pairs = 2, .listens = listens, .libvirt = true});
    house.CheckTraffic();
    const VhostReport report = house.Report();
    CHECK(report.pairs_enabled == 2);
    CHECK(report.bad_messages == 0);
    for (const char* feature : {"MQ", "MRG_RXBUF", "GUEST_TSO4", "HOST_TSO4"})
      CHECK(Has(report.features, feature));
  }
}

TEST_CASE("a killed machine harms nobody, and the next one on its socket is served", "[vhost][guest]") {
  House house({});
  for (int i = 0; i < 2; ++i) {
    house.CheckTraffic();
    house.guest().Run("stream" + SourceTo(1) + " >/dev/null 2>&1 &");  // there is traffic when it dies
    house.guest().Kill();
    house.BootGuest();
  }
  house.CheckTraffic();
  CHECK(house.Report().connections == 3);
}

TEST_CASE("a driver that is taken off and put on again is served as before", "[vhost][guest]") {
  House house({});
  for (int i = 0; i < 2; ++i) {
    house.CheckTraffic();
    house.guest().MustRun(
        "d=$(basename $(readlink /sys/class/net/eth0/device)); b=/sys/bus/virtio/drivers/virtio_net; "
        "echo $d >$b/unbind && echo $d >$b/bind && ip addr add 10.0.0.2/24 dev eth0 && ip link set eth0 up");
  }
  house.CheckTraffic();
}

// A host in a process of its own, on a socket and an interface that are there without it.
int ServeForEver(const std::string& path, const std::string& netns) {
  const std::unique_ptr<PacketPool> pool = NewPool();
  const std::unique_ptr<VhostNic> port = Take(OpenVhostNic({.path = path}));
  const std::unique_ptr<Nic> tap =
      Take(ModelNic::Open({.name = "outside"}, Take(MakeTapWire({.interface = "tap0", .netns = netns}))));
  for (Nic* nic : std::initializer_list<Nic*>{port.get(), tap.get()}) {
    if (!nic->Start({.pool = pool.get()}).ok()) return 1;
  }
  const NicPatch patch(*port, *tap);
  for (;;) pause();
}

TEST_CASE("a guest's connection lives through the killing of its host", "[vhost][guest]") {
  constexpr int kKills = std::min<int>(20, kMostKinds);
  const TempFolder folder;
  const Namespace outside = Namespace::Make("outside");
  outside.MustRun(
      "ip tuntap add tap0 mode tap vnet_hdr; ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 up");
  const Process sink = outside.Start(Guest::StreamProgram() + " sink 5000");
  const auto serve = [&] { return ServeForEver(folder.file("vhost"), outside.path()); };
  std::optional<Process> host(Process::Fork(serve));
  const std::unique_ptr<Guest> guest = Boot({}, folder.file("vhost"), 2);

  guest->MustRun(
      "(while [ ! -e /tmp/enough ]; do stream source 10.0.0.1 5000 4000000; done >/tmp/verdicts 2>&1; "
      "touch /tmp/over) >/dev/null 2>&1 &");
  for (int i = 0; i < kKills; ++i) {
    guest->MustRun("sleep 1");
    host->Signal(SIGKILL);
    host.reset();
    host.emplace(Process::Fork(serve));
    CHECK(guest->Run("until ping -c 1 -W 1 10.0.0.1; do :; done", kPatience).ok());
  }
  CHECK(guest->Run("touch /tmp/enough; until [ -e /tmp/over ]; do sleep 0.2; done", kPatience).ok());
  const std::string verdicts = guest->MustRun("sort /tmp/verdicts | uniq -c");
  INFO(verdicts);
  CHECK(absl::StrContains(verdicts, Ok()));
  CHECK(guest->MustRun("grep -vcx 'ok 4000000' /tmp/verdicts || true") == "0\n");  // no connection was broken
}

// Two guests, and what connects them.
class TwoHouses {
 public:
  explicit TwoHouses(const GuestNic& kind)
      : pool_(NewPool()), left_(*pool_), right_(*pool_), patch_(std::in_place, left_.nic(), right_.nic()) {
    one_ = Boot(kind, left_.path(), 1);
    two_ = Boot(kind, right_.path(), 2);
  }
  ~TwoHouses() {
    one_.reset();
    two_.reset();
    patch_.reset();
    CHECK(left_.nic().Stop() == absl::OkStatus());
    CHECK(right_.nic().Stop() == absl::OkStatus());
    CHECK(pool_->available() == pool_->options().packets);
  }
  Guest& one() { return *one_; }
  Guest& two() { return *two_; }
  NicPatch& patch() { return *patch_; }
  uint64_t dropped() {
    uint64_t dropped = 0;
    patch_->Do([&] { dropped = left_.nic().drops().total() + right_.nic().drops().total(); });
    return dropped;
  }

 private:
  std::unique_ptr<PacketPool> pool_;
  Port left_, right_;
  std::optional<NicPatch> patch_;
  std::unique_ptr<Guest> one_, two_;
};

TEST_CASE("what a guest leaves to be cut goes to another guest uncut", "[vhost][guest]") {
  TwoHouses houses({});
  houses.one().MustRun("echo 32 >/proc/sys/net/ipv4/tcp_min_tso_segs");
  CHECK(houses.one().Run("ping -c 3 -i 0.2 -W 5 10.0.0.2", kPatience).ok());
  CHECK(houses.one().Run("stream" + SourceTo(2), kPatience).output == Ok());
  CHECK(houses.two().Run("stream" + SourceTo(1), kPatience).output == Ok());
  CHECK(houses.patch().longest() > kManyFrames);
  CHECK(houses.two().MustRun(
            "nstat -asz TcpInErrs TcpInCsumErrors IpInHdrErrors | awk '{ sum += $2 } END { print sum }'") ==
        "0\n");
  INFO(houses.patch().EventsSoFar());
  CHECK(houses.dropped() < 100);  // neighbours' first words, before the other is up
}

TEST_CASE("guests that agree to nothing get frames that are cut and summed for them", "[vhost][guest]") {
  TwoHouses houses({absl::StrCat("mrg_rxbuf=off,", kNoTsoIn, ",guest_csum=off")});
  CHECK(houses.one().Run("stream" + SourceTo(2), kPatience).output == Ok());
  CHECK(houses.two().Run("stream" + SourceTo(1), kPatience).output == Ok());
}

}  // namespace
}  // namespace sluice::testing
