// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/guest_house.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "sluice/nic/tap_wire.h"

namespace sluice::testing {
namespace {

VhostNicOptions WithRole(VhostNicOptions options, const GuestNic& kind) {
  options.role = kind.listens ? VhostRole::kClient : VhostRole::kServer;
  return options;
}

// QEMU 7.2 without KVM falls over a vhost-user device that has interrupt vectors, 10.0 does not.
const char* Vectors() {
  static const bool stands =
      RunCommand(
          "v=$(qemu-system-x86_64 --version | sed -n 's/.* version \\([0-9]*\\).*/\\1/p'); "
          "[ \"$v\" -ge 10 ]")
          .ok();
  return stands ? "" : "vectors=0,";
}

}  // namespace

bool Comes(const std::function<bool()>& condition, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(10));
  return condition();
}

std::string DevicesOf(const GuestNic& nic, const std::string& path, int last) {
  const std::string mac = absl::StrCat("02:00:00:00:00:0", last);
  if (nic.libvirt) return absl::StrCat(path, nic.listens ? " server " : " client ", mac);
  const std::string multi = nic.pairs > 1 ? "mq=on," : "";
  const std::string more = nic.properties.empty() ? "" : "," + nic.properties;
  return absl::StrCat(
      "-chardev socket,id=vu,path=", path, nic.listens ? ",server=on,wait=off" : ",reconnect=1",
      " -netdev vhost-user,id=n0,chardev=vu,queues=", nic.pairs, " -device virtio-net-pci,netdev=n0,", multi,
      Vectors(), "disable-legacy=on,romfile=,mac=", mac, more, " ", nic.machine);
}

std::unique_ptr<PacketPool> NewPool() {
  return Take(PacketPool::Create({.packets = 16384, .huge_pages = HugePages::kOff}));
}

std::unique_ptr<Guest> Boot(const GuestNic& nic, const std::string& path, int last) {
  auto guest =
      std::make_unique<Guest>(GuestOptions{.devices = DevicesOf(nic, path, last), .libvirt = nic.libvirt});
  SetUp(*guest, last);
  return guest;
}

void SetUp(Guest& guest, int last) {
  guest.MustRun(absl::StrCat("ip addr add 10.0.0.", last,
                             "/24 dev eth0; ip link set eth0 up; stream sink 5000 >/dev/null 2>&1 & "
                             "until grep -q ':1388 ' /proc/net/tcp6; do usleep 10000; done"));
}

std::string SourceTo(int last) { return absl::StrCat(" source 10.0.0.", last, " 5000 ", kStreamBytes); }
std::string Ok() { return absl::StrCat("ok ", kStreamBytes, "\n"); }

Port::Port(PacketPool& pool, VhostNicOptions options, uint16_t queues) {
  options.path = path();
  nic_ = Take(OpenVhostNic(options));
  const absl::Status started = nic_->Start({.rx_queues = queues, .tx_queues = queues, .pool = &pool});
  if (!started.ok()) throw std::runtime_error(started.ToString());
}

Outside::Outside(PacketPool& pool, int taps) : where_(Namespace::Make("outside")) {
  for (int i = 0; i < taps; ++i) nics_.push_back(OpenTap(pool, absl::StrCat("tap", i)));
  const std::string interface = taps == 1 ? "tap0" : "br0";
  if (taps > 1) {
    where_.MustRun(
        "ip link add br0 type bridge forward_delay 0; "
        "for tap in /proc/sys/net/ipv4/conf/tap*; do ip link set ${tap##*/} master br0 up; done");
  }
  where_.MustRun(absl::StrCat("ip addr add 10.0.0.1/24 dev ", interface, "; ip link set ", interface, " up"));
  StartSink();
}

std::unique_ptr<Nic> Outside::OpenTap(PacketPool& pool, const std::string& name) const {
  std::unique_ptr<Nic> nic = Take(
      ModelNic::Open({.name = "outside"}, Take(MakeTapWire({.interface = name, .netns = where_.path()}))));
  const absl::Status started = nic->Start({.pool = &pool});
  if (!started.ok()) throw std::runtime_error(started.ToString());
  return nic;
}

Outside::~Outside() {
  for (const std::unique_ptr<Nic>& nic : nics_) CHECK(nic->Stop() == absl::OkStatus());
}

void Outside::StartSink() {
  sink_.reset();
  sink_.emplace(where_.Start("exec " + Guest::StreamProgram() + " sink 5000"));
}

Door::Door(PacketPool& pool, Nic& outside, const GuestNic& kind, VhostNicOptions options)
    : port_(pool, WithRole(std::move(options), kind), kind.queues != 0 ? kind.queues : kind.pairs),
      patch_(std::in_place, port_.nic(), outside) {}

Door::~Door() {
  patch_.reset();
  CHECK(port_.nic().Stop() == absl::OkStatus());
}

VhostReport Door::Report() {
  VhostReport report;
  patch_->Do([&] { report = port_.nic().report(); });
  return report;
}

House::House(const GuestNic& kind, const VhostNicOptions& options) : House(Empty(), kind, options) {
  BootGuest();
}

House::House(Empty, const GuestNic& kind, const VhostNicOptions& options)
    : kind_(kind),
      pool_(NewPool()),
      outside_(std::in_place, *pool_),
      door_(std::in_place, *pool_, outside_->nic(), kind, options) {}

House::~House() {
  guest_.reset();
  door_.reset();
  outside_.reset();
  CHECK(pool_->available() == pool_->options().packets);
}

void House::BootGuest() {
  guest_ = Boot(kind_, door_->path(), 2);
  outside_->StartSink();
}

void House::CheckPings() {
  INFO(patch().EventsSoFar());
  CHECK(guest_->Run("ping -c 3 -i 0.2 -W 5 10.0.0.1", kPatience).ok());
  CHECK(outside_->Run("ping -c 3 -i 0.2 -W 5 -s 1400 10.0.0.2").ok());
}

void House::CheckTraffic() {
  CheckPings();
  INFO(patch().EventsSoFar());
  CHECK(guest_->Run("stream" + SourceTo(1), kPatience).output == Ok());
  CHECK(outside_->Run(Guest::StreamProgram() + SourceTo(2)).output == Ok());
  for (const VhostRingReport& ring : Report().rings) CHECK(ring.fault == "");
}

}  // namespace sluice::testing
