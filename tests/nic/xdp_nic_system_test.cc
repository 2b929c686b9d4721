// SPDX-License-Identifier: Apache-2.0
// The AF_XDP backend on veth pairs, against the kernel's own stack.

#include <dirent.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nic/xdp/socket_internal.h"
#include "sluice/base/status.h"
#include "sluice/nic/xdp_nic.h"
#include "tests/nic/conformance.h"
#include "tests/nic/kernel_bridge.h"
#include "tests/support/frames.h"
#include "tests/support/netns.h"

namespace sluice {
namespace {

using sluice::testing::Bytes;
using sluice::testing::BytesOf;
using sluice::testing::MakePacket;
using sluice::testing::Namespace;
using sluice::testing::NamespaceScope;
using sluice::testing::Process;
using sluice::testing::RunCommand;
using sluice::testing::UdpFrame;
using sluice::testing::VethOptions;
using sluice::testing::VethPair;

constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr uint16_t kFirst = 0;

std::unique_ptr<PacketPool> MakePool(const PacketPoolOptions& options = {.packets = 4096,
                                                                         .huge_pages = HugePages::kOff}) {
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create(options);
  if (!pool.ok()) throw std::runtime_error(pool.status().ToString());
  return *std::move(pool);
}

std::unique_ptr<XdpNic> MustOpen(const XdpNicOptions& options) {
  absl::StatusOr<std::unique_ptr<XdpNic>> nic = OpenXdpNic(options);
  if (!nic.ok()) throw std::runtime_error(nic.status().ToString());
  return *std::move(nic);
}

void MustStart(Nic& nic, const QueueOptions& queues) {
  const absl::Status started = nic.Start(queues);
  if (!started.ok()) throw std::runtime_error(started.ToString());
}

Problem RefusalOf(const absl::Status& status) {
  REQUIRE_FALSE(status.ok());
  const std::optional<Problem> problem = ProblemOf(status);
  REQUIRE(problem.has_value());
  CHECK_FALSE(problem->remedy.empty());
  return *problem;
}

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// True as soon as `done` is, false when it is not in time.
bool Eventually(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Microseconds(200));
  }
  return true;
}

// A cable with both its ends in one namespace, in which the thread is too.
struct Bench {
  Namespace where = Namespace::Make("xdp");
  NamespaceScope inside{where};

  bool HasProgram(const std::string& interface) const {
    return Says(where.MustRun("ip -d link show dev " + interface), "prog/xdp");
  }
};

// One port on a cable whose other end the test holds as a second port.
struct TwoPorts : Bench {
  explicit TwoPorts(const VethOptions& options = {},
                    const PacketPoolOptions& pool_options = {.packets = 4096, .huge_pages = HugePages::kOff})
      : cable(where, "left", where, "right", options), pool(MakePool(pool_options)) {
    left = MustOpen({.interface = "left"});
    right = MustOpen({.interface = "right"});
  }
  void Start(QueueOptions queues = {.rx_ring = 256, .tx_ring = 256}) {
    queues.pool = pool.get();
    MustStart(*left, queues);
    MustStart(*right, queues);
  }
  // What waits at the right, but for the kernel's own chatter.
  std::vector<Bytes> Poll() {
    const Bytes ours = UdpFrame({});
    std::vector<Bytes> frames;
    Burst burst;
    right->rx(QueueId(kFirst)).Receive(burst);
    for (const Packet* packet : burst) {
      Bytes frame = BytesOf(*packet);
      if (std::equal(frame.begin() + 6, frame.begin() + 12, ours.begin() + 6))
        frames.push_back(std::move(frame));
    }
    return frames;
  }
  // Waits for `n` frames at the right.
  std::vector<Bytes> Collect(size_t n) {
    std::vector<Bytes> frames;
    Eventually([&] {
      Burst burst;
      right->rx(QueueId(kFirst)).Receive(burst);
      for (const Packet* packet : burst) frames.push_back(BytesOf(*packet));
      return frames.size() >= n;
    });
    return frames;
  }

  VethPair cable;
  std::unique_ptr<PacketPool> pool;
  std::unique_ptr<XdpNic> left;
  std::unique_ptr<XdpNic> right;
};

Bytes NumberedFrame(size_t length, uint8_t number) {
  Bytes frame = UdpFrame({.payload_size = length - 42});
  frame.back() = number;
  return frame;
}

testing::Rig PairOfPorts(const Namespace& where, Want native) {
  testing::Rig rig;
  rig.around = std::make_shared<VethPair>(where, "left", where, "right");
  rig.a = MustOpen({.interface = "left", .native = native});
  rig.b = MustOpen({.interface = "right", .native = native});
  rig.set_link = [&where](bool up) { where.MustRun(up ? "ip link set right up" : "ip link set right down"); };
  return rig;
}

TEST_CASE("an AF_XDP port keeps the promises of a Nic", "[xdp][conformance]") {
  Bench bench;
  testing::CheckConformance({
      .open = [&] { return PairOfPorts(bench.where, Want::kRequire); },
      .back_pressure = false,  // veth drops what finds no buffer at the far end
      .restarts = testing::kSlowRestarts,
  });
}

TEST_CASE("an AF_XDP port on the generic hook keeps the promises of traffic", "[xdp][conformance]") {
  Bench bench;
  const testing::Subject subject = {
      .open = [&] { return PairOfPorts(bench.where, Want::kOff); },
      .back_pressure = false,
  };
  testing::CheckTraffic(subject);
  testing::CheckRequests(subject);
}

TEST_CASE("segments that the ring has no room for wait, and nothing overtakes them", "[xdp]") {
  TwoPorts ports;
  ports.Start({.rx_ring = 256, .tx_ring = 8});
  const Bytes after = NumberedFrame(64, 1);
  Burst burst;
  burst.Push(MakePacket(*ports.pool, testing::TcpFrame({.payload_size = 30'000})));
  burst[0].offload = {.l4_checksum = true, .segment = true, .mss = 500};
  burst.Push(MakePacket(*ports.pool, after));
  std::vector<Bytes> arrived;
  TxQueue& tx = ports.left->tx(QueueId(kFirst));
  CHECK(Eventually([&] {
    tx.Send(burst);
    for (Bytes& frame : ports.Poll()) arrived.push_back(std::move(frame));
    return arrived.size() == 61;
  }));
  CHECK(arrived.back() == after);
  CHECK(tx.stats().packets == 2);
  CHECK(ports.left->counters().copies == 60);
  CHECK(ports.left->drops().total() == 0);
}

TEST_CASE("what is being cut when the link goes is one drop, and what comes later is sent", "[xdp]") {
  TwoPorts ports;
  ports.Start({.rx_ring = 256, .tx_ring = 8});
  TxQueue& tx = ports.left->tx(QueueId(kFirst));
  ports.where.MustRun("ip link set right down");
  REQUIRE(Eventually([&] { return ports.left->link() == LinkState::kDown; }));
  Burst burst;
  burst.Push(MakePacket(*ports.pool, testing::TcpFrame({.payload_size = 30'000})));
  burst[0].offload = {.l4_checksum = true, .segment = true, .mss = 500};
  CHECK(tx.Send(burst) == 1);
  CHECK(tx.stats().drops[DropReason::kLinkDown] == 1);
  ports.where.MustRun("ip link set right up");
  REQUIRE(Eventually([&] { return ports.left->link() == LinkState::kUp; }));
  burst.Push(MakePacket(*ports.pool, NumberedFrame(64, 1)));
  CHECK(tx.Send(burst) == 1);
  CHECK(ports.Collect(1).back() == NumberedFrame(64, 1));
  CHECK(tx.stats().drops.total() == 1);
}

TEST_CASE("frames cross a cable byte by byte, short and long", "[xdp]") {
  TwoPorts ports;
  ports.Start();
  for (const size_t length : {size_t{64}, size_t{1500}, size_t{1518}}) {
    INFO("frames of " << length);
    std::vector<Bytes> sent;
    Burst burst;
    for (uint8_t i = 0; i < 40; ++i) {
      sent.push_back(NumberedFrame(length, i));
      burst.Push(MakePacket(*ports.pool, sent.back()));
    }
    CHECK(ports.left->tx(QueueId(kFirst)).Send(burst) == 40);
    CHECK(ports.Collect(40) == sent);
  }
}

TEST_CASE("frames between two ports of one pool are not copied, those of another pool are", "[xdp]") {
  TwoPorts ports;
  ports.Start();
  const std::unique_ptr<PacketPool> foreign = MakePool();
  Burst burst;
  burst.Push(MakePacket(*ports.pool, NumberedFrame(100, 1)));
  burst.Push(MakePacket(*foreign, NumberedFrame(100, 2)));
  burst.Push(MakePacket(*ports.pool, NumberedFrame(1000, 3), 200));  // in five pieces
  CHECK(ports.left->tx(QueueId(kFirst)).Send(burst) == 3);

  CHECK(ports.Collect(3) ==
        std::vector<Bytes>{NumberedFrame(100, 1), NumberedFrame(100, 2), NumberedFrame(1000, 3)});
  CHECK(ports.left->counters().copies == 2);
  CHECK(foreign->available() == foreign->options().packets);
}

TEST_CASE("every queue of a multi-queue cable carries its own frames", "[xdp]") {
  TwoPorts ports({.queues = 2});
  ports.Start({.rx_queues = 2, .tx_queues = 2, .rx_ring = 256, .tx_ring = 256});
  for (const uint16_t queue : {uint16_t{0}, uint16_t{1}}) {
    Burst burst, arrived;
    burst.Push(MakePacket(*ports.pool, NumberedFrame(64, static_cast<uint8_t>(queue))));
    CHECK(ports.left->tx(QueueId(queue)).Send(burst) == 1);
    CHECK(Eventually([&] { return ports.right->rx(QueueId(queue)).Receive(arrived) == 1; }));
    CHECK(arrived[0].ingress_queue == QueueId(queue));
  }
}

TEST_CASE("a started port says which queues it holds and which modes are in force", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right");
  const std::unique_ptr<PacketPool> pool = MakePool();
  const Want native = GENERATE(Want::kRequire, Want::kOff);
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left", .native = native});
  MustStart(*nic, {.pool = pool.get()});

  CHECK(nic->queue_plan() == "receive: queue 0 of 1; send: queue 0 of 1");
  const std::vector<ModeInForce> modes = nic->modes();
  REQUIRE(modes.size() == 3);
  CHECK(modes[0].active == (native == Want::kRequire));
  CHECK_FALSE(modes[1].active);  // veth has no zero-copy for sockets
  CHECK(Says(modes[1].reason, "no zero-copy"));
  CHECK(bench.HasProgram("left"));
}

TEST_CASE("zero-copy that is required and not there refuses, and changes nothing", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right");
  const std::unique_ptr<PacketPool> pool = MakePool();
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left", .zero_copy = Want::kRequire});
  const Problem problem = RefusalOf(nic->Start({.pool = pool.get()}));
  CHECK(problem.error_number == EOPNOTSUPP);
  CHECK(problem.capability == "zero-copy");
  CHECK_FALSE(bench.HasProgram("left"));
  CHECK(pool->available() == pool->options().packets);
}

TEST_CASE("busy polling that is required is in force, and frames cross", "[xdp]") {
  TwoPorts ports;
  ports.right = MustOpen({.interface = "right", .busy_poll = Want::kRequire});
  ports.Start();
  CHECK(ports.right->modes()[2].active);
  Burst burst;
  burst.Push(MakePacket(*ports.pool, NumberedFrame(64, 1)));
  ports.left->tx(QueueId(kFirst)).Send(burst);
  CHECK(ports.Collect(1).size() == 1);
}

// Refusals.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("an interface that is not there is refused by name", "[xdp]") {
  const Problem problem = RefusalOf(OpenXdpNic({.interface = "no-such"}).status());
  CHECK(problem.device == "xdp no-such");
  CHECK(problem.error_number == ENODEV);
  CHECK(RefusalOf(OpenXdpNic({.interface = ""}).status()).capability == "interface");
}

TEST_CASE("the interface of the default route is refused unless that is allowed", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right", {.address_a = "10.0.0.1/24"});
  bench.where.MustRun("ip route add default via 10.0.0.2");
  CHECK(RefusalOf(OpenXdpNic({.interface = "left"}).status()).capability == "allow_default_route");
  CHECK(OpenXdpNic({.interface = "right"}).ok());
  CHECK(OpenXdpNic({.interface = "left", .allow_default_route = true}).ok());
}

TEST_CASE("a default route is seen in every form: of IPv6, and of several hops", "[xdp]") {
  const std::string route = GENERATE(as<std::string>(), "ip -6 route add default dev left",
                                     "ip route add default nexthop via 10.0.0.2 nexthop via 10.0.1.2");
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right",
                 {.address_a = "10.0.0.1/24", .address_b = "10.0.1.1/24"});
  bench.where.MustRun("echo 0 > /proc/sys/net/ipv6/conf/left/disable_ipv6");
  bench.where.MustRun(route);
  INFO(route);
  CHECK(RefusalOf(OpenXdpNic({.interface = "left"}).status()).capability == "allow_default_route");
}

TEST_CASE("an MTU beyond a buffer is refused with the numbers, and fits a larger buffer", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right", {.mtu = 3000});
  const std::unique_ptr<PacketPool> small = MakePool();
  const std::unique_ptr<PacketPool> large =
      MakePool({.packets = 4096, .buffer_size = 4096, .huge_pages = HugePages::kOff});
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left"});
  const Problem problem = RefusalOf(nic->Start({.pool = small.get()}));
  CHECK(problem.what ==
        "MTU 3000 makes frames of up to 3018 bytes, and a buffer of 2048 holds 1792 behind 256 of headroom");
  CHECK(Says(problem.remedy, "MTU to 1774"));
  CHECK(nic->Start({.pool = large.get()}).ok());
}

TEST_CASE("queues that cannot all be held are refused with the plan", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right", {.queues = 4});
  const std::unique_ptr<PacketPool> pool = MakePool();
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left"});
  const Problem problem = RefusalOf(nic->Start({.rx_queues = 2, .tx_queues = 2, .pool = pool.get()}));
  CHECK(Says(problem.what, "4 receive and 4 transmit queues, and no indirection table"));
  CHECK_FALSE(bench.HasProgram("left"));
  CHECK(nic->Start({.rx_queues = 4, .tx_queues = 4, .rx_ring = 256, .pool = pool.get()}).ok());
}

TEST_CASE("a pool too small for the rings is refused, and is whole again", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right");
  const std::unique_ptr<PacketPool> pool = MakePool({.packets = 512, .huge_pages = HugePages::kOff});
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left"});
  CHECK(nic->Start({.pool = pool.get()}).code() == absl::StatusCode::kResourceExhausted);
  CHECK(pool->available() == 512);
  CHECK_FALSE(bench.HasProgram("left"));
}

TEST_CASE("a second owner of an interface is refused, and the first carries on", "[xdp]") {
  TwoPorts ports;
  const std::unique_ptr<XdpNic> early = MustOpen({.interface = "left"});
  ports.Start();
  const std::unique_ptr<PacketPool> other = MakePool();
  const Problem opening = RefusalOf(OpenXdpNic({.interface = "left"}).status());
  CHECK(opening.error_number == EBUSY);
  CHECK(Says(opening.what, "\"sluice_redirect\" has the interface"));
  CHECK(RefusalOf(early->Start({.pool = other.get()})).error_number == EBUSY);
  CHECK(other->available() == other->options().packets);

  Burst burst;
  burst.Push(MakePacket(*ports.pool, NumberedFrame(64, 1)));
  ports.right->tx(QueueId(kFirst)).Send(burst);
  Burst arrived;
  CHECK(Eventually([&] { return ports.left->rx(QueueId(kFirst)).Receive(arrived) == 1; }));
}

TEST_CASE("a queue that another socket has is refused, and no program is left behind", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right", {.queues = 2});
  const std::unique_ptr<PacketPool> theirs = MakePool(), ours = MakePool();
  const auto squatter = XdpSockets::Open({.device = "squatter", .interface = "left", .pool = theirs.get()});
  REQUIRE(squatter.ok());
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left"});
  const Problem problem =
      RefusalOf(nic->Start({.rx_queues = 2, .tx_queues = 2, .rx_ring = 256, .pool = ours.get()}));
  CHECK(problem.error_number == EBUSY);
  CHECK(problem.stage == "bind queue 0");
  CHECK_FALSE(bench.HasProgram("left"));
  CHECK(ours->available() == ours->options().packets);
}

TEST_CASE("a Start from another network namespace is refused", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right");
  const std::unique_ptr<PacketPool> pool = MakePool();
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left"});
  const Namespace elsewhere = Namespace::Make("elsewhere");
  const NamespaceScope there(elsewhere);
  CHECK(RefusalOf(nic->Start({.pool = pool.get()})).capability == "network namespace");
}

// What a child that gave up rights says when it opens and starts a port.
std::string RefusalWithout(const std::function<void()>& give_up) {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right");
  Process child = Process::Fork([&] {
    give_up();
    const std::unique_ptr<PacketPool> pool = MakePool();
    absl::StatusOr<std::unique_ptr<XdpNic>> nic = OpenXdpNic({.interface = "left"});
    const absl::Status status = nic.ok() ? (*nic)->Start({.pool = pool.get()}) : nic.status();
    std::fputs(status.ToString().c_str(), stdout);
    std::fflush(stdout);
    return 0;
  });
  CHECK(child.Wait(kPatience) == 0);
  return child.Output();
}

TEST_CASE("without privilege the capabilities that are missing are named", "[xdp]") {
  const std::string text = RefusalWithout([] { CHECK(setuid(65534) == 0); });
  CHECK(Says(text, "PERMISSION_DENIED"));
  for (const char* capability : {"CAP_NET_RAW", "CAP_BPF", "CAP_NET_ADMIN"}) CHECK(Says(text, capability));
}

void DropCapability(int capability) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> sets{};
  CHECK(syscall(SYS_capget, &header, sets.data()) == 0);
  sets[0].effective &= ~(uint32_t{1} << capability);
  CHECK(syscall(SYS_capset, &header, sets.data()) == 0);
}

TEST_CASE("a limit of locked memory that is too low is named with its figures", "[xdp]") {
  const std::string text = RefusalWithout([] {
    const rlimit small{.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &small) == 0);
    DropCapability(CAP_IPC_LOCK);
  });
  CHECK(Says(text, "RESOURCE_EXHAUSTED"));
  CHECK(Says(text, "region of 8192 KiB must be locked, and RLIMIT_MEMLOCK is 64 KiB"));
}

// Ends, expected and not.
// ---------------------------------------------------------------------------------------------------------

size_t DescriptorsOfThisProcess() {
  size_t entries = 0;
  DIR* const directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++entries;
  closedir(directory);
  return entries;
}

// Rings and regions; the heap may grow as it likes.
size_t MappingsOfThisProcess() {
  std::ifstream maps("/proc/self/maps");
  size_t mappings = 0;
  for (std::string line; std::getline(maps, line);)
    mappings += Says(line, "[AF_XDP]") || Says(line, "socket:");
  return mappings;
}

TEST_CASE("a program and its sockets go with a process that is killed", "[xdp]") {
  Bench bench;
  VethPair cable(bench.where, "left", bench.where, "right");
  const std::unique_ptr<PacketPool> pool = MakePool();
  Process child = Process::Fork([&] {
    const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "left"});
    MustStart(*nic, {.pool = pool.get()});
    std::puts("started");
    std::fflush(stdout);
    pause();
    return 0;
  });
  REQUIRE(child.WaitForOutput("started", kPatience));
  CHECK(bench.HasProgram("left"));
  child.Signal(SIGKILL);
  CHECK(child.Wait(kPatience) == 128 + SIGKILL);

  CHECK(Eventually([&] { return !bench.HasProgram("left"); }));
  const std::unique_ptr<XdpNic> heir = MustOpen({.interface = "left"});
  CHECK(heir->Start({.pool = pool.get()}).ok());
}

TEST_CASE("starting and stopping many times leaves no descriptor, mapping, packet or program behind",
          "[xdp]") {
  TwoPorts ports;
  const size_t descriptors = DescriptorsOfThisProcess();  // program, map and link are such, too
  const size_t mappings = MappingsOfThisProcess();
  for (int i = 0; i < 20; ++i) {
    ports.Start();
    CHECK(MappingsOfThisProcess() == mappings + 2 * 4);  // four rings a socket
    CHECK(ports.left->Stop().ok());
    CHECK(ports.right->Stop().ok());
  }
  CHECK(DescriptorsOfThisProcess() == descriptors);
  CHECK(MappingsOfThisProcess() == mappings);
  CHECK(ports.pool->available() == ports.pool->options().packets);
  CHECK_FALSE(ports.HasProgram("left"));
}

TEST_CASE("frames that nobody received or sent count as stopped, and come home", "[xdp]") {
  TwoPorts ports;
  ports.Start();
  Burst burst;
  for (uint8_t i = 0; i < 10; ++i) burst.Push(MakePacket(*ports.pool, NumberedFrame(64, i)));
  ports.left->tx(QueueId(kFirst)).Send(burst);
  CHECK(Eventually([&] { return !ports.right->rx(QueueId(kFirst)).Arm(); }));
  CHECK(ports.left->Stop().ok());
  CHECK(ports.right->Stop().ok());
  CHECK(ports.right->drops()[DropReason::kStopped] == 10);
  CHECK(ports.pool->available() == ports.pool->options().packets);
}

std::vector<NicEvent::Kind> KindsOf(const std::vector<NicEvent>& events) {
  std::vector<NicEvent::Kind> kinds;
  for (const NicEvent& event : events) kinds.push_back(event.kind);
  return kinds;
}

// CPU time that this thread takes for `wall` of waiting on a queue, as a host would.
absl::Duration CpuWhileAsleep(RxQueue& queue, absl::Duration wall) {
  const auto cpu = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return absl::DurationFromTimespec(now);
  };
  const absl::Duration before = cpu();
  for (const absl::Time end = absl::Now() + wall; absl::Now() < end;) {
    Burst burst;
    if (queue.Receive(burst) != 0 || !queue.Arm()) continue;
    pollfd waited{.fd = queue.fd(), .events = POLLIN, .revents = 0};
    poll(&waited, 1, static_cast<int>(absl::ToInt64Milliseconds(end - absl::Now())) + 1);
  }
  return cpu() - before;
}

TEST_CASE("a namespace that disappears under a running port ends in events, counted drops and no spinning",
          "[xdp]") {
  Bench bench;
  Namespace guest = Namespace::Make("guest");
  VethPair cable(guest, "eth0", bench.where, "port0");
  const std::unique_ptr<PacketPool> pool = MakePool();
  const std::unique_ptr<XdpNic> nic = MustOpen({.interface = "port0"});
  MustStart(*nic, {.pool = pool.get()});
  guest.Remove();

  std::vector<NicEvent> events;
  CHECK(Eventually([&] {
    pollfd waited{.fd = nic->event_fd(), .events = POLLIN, .revents = 0};
    poll(&waited, 1, 100);
    for (NicEvent& event : nic->TakeEvents()) events.push_back(std::move(event));
    return !events.empty() && events.back().kind == NicEvent::Kind::kRemoved;
  }));
  using Kind = NicEvent::Kind;
  CHECK(KindsOf(events) == std::vector<Kind>{Kind::kLinkUp, Kind::kLinkDown, Kind::kRemoved});
  CHECK(nic->link() == LinkState::kDown);

  Burst burst;
  burst.Push(MakePacket(*pool, NumberedFrame(64, 1)));
  CHECK(nic->tx(QueueId(kFirst)).Send(burst) == 1);
  CHECK(nic->tx(QueueId(kFirst)).stats().drops[DropReason::kLinkDown] == 1);
  CHECK(CpuWhileAsleep(nic->rx(QueueId(kFirst)), absl::Milliseconds(200)) < absl::Milliseconds(20));
  CHECK(nic->Stop().ok());
  CHECK(pool->available() == pool->options().packets);
  CHECK(nic->Start({.pool = pool.get()}).code() == absl::StatusCode::kNotFound);
}

// Sleeping.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("an idle queue sleeps, and no frame is slept through", "[xdp]") {
  TwoPorts ports;
  ports.Start();
  RxQueue& queue = ports.right->rx(QueueId(kFirst));
  CHECK(CpuWhileAsleep(queue, absl::Milliseconds(300)) < absl::Milliseconds(10));

  const uint64_t before = queue.stats().packets;  // the kernel's own chatter
  std::thread sender([&] {
    for (uint8_t i = 0; i < 200; ++i) {
      Burst burst;
      burst.Push(MakePacket(*ports.pool, NumberedFrame(64, i)));
      ports.left->tx(QueueId(kFirst)).Send(burst);
      absl::SleepFor(absl::Microseconds(i * 5));
    }
  });
  bool lost_a_wakeup = false;
  Eventually([&] {
    Burst burst;
    if (queue.Receive(burst) == 0 && queue.stats().packets < before + 200 && queue.Arm()) {
      pollfd waited{.fd = queue.fd(), .events = POLLIN, .revents = 0};
      lost_a_wakeup |= poll(&waited, 1, 2000) == 0;
    }
    return queue.stats().packets >= before + 200;
  });
  sender.join();
  CHECK_FALSE(lost_a_wakeup);
  CHECK(queue.stats().packets >= before + 200);
  CHECK(queue.stats().wakeups > 0);
}

TEST_CASE("a burst costs one doorbell, and polls with nothing to send cost none", "[xdp]") {
  TwoPorts ports;
  ports.Start();
  const uint64_t before = ports.left->counters().doorbells;
  for (int i = 0; i < 100; ++i) {
    Burst none;
    ports.left->rx(QueueId(kFirst)).Receive(none);
    ports.left->tx(QueueId(kFirst)).Reclaim();
  }
  CHECK(ports.left->counters().doorbells == before);

  Burst burst;
  for (uint8_t i = 0; i < 32; ++i) burst.Push(MakePacket(*ports.pool, NumberedFrame(64, i)));
  CHECK(ports.left->tx(QueueId(kFirst)).Send(burst) == 32);
  CHECK(ports.left->counters().doorbells == before + 1);
  CHECK(ports.Collect(32).size() == 32);
  CHECK(ports.right->counters().doorbells == 0);
}

TEST_CASE("what nobody polls in time is counted, and received plus dropped is what was sent", "[xdp]") {
  TwoPorts ports;
  ports.Start();
  TxQueue& out = ports.left->tx(QueueId(kFirst));
  for (int i = 0; i < 500; ++i) {
    Burst burst;
    burst.Push(MakePacket(*ports.pool, NumberedFrame(64, static_cast<uint8_t>(i))));
    Eventually([&] { return out.Send(burst) == 1; });
  }
  CHECK(Eventually(
      [&] { return out.Reclaim(), ports.right->drops()[DropReason::kReceiveRingFull] >= 500 - 256; }));
  const size_t received = ports.Collect(256).size();
  CHECK(received == 256);
  CHECK(received + ports.right->drops().total() == out.stats().packets);
}

// The kernel's stack as the judge.
// ---------------------------------------------------------------------------------------------------------

// Two guests, and a host between them that carries frames from port to port.
class Carrier {
 public:
  Carrier() {
    ports_[0] = MustOpen({.interface = "port0"});
    ports_[1] = MustOpen({.interface = "port1"});
    for (const auto& port : ports_) MustStart(*port, {.pool = pool_.get()});
    thread_ = std::thread([this] { Carry(); });
  }
  ~Carrier() {
    stop_ = true;
    thread_.join();
  }
  const Namespace& guest(int i) const { return i == 0 ? guest0_ : guest1_; }
  Nic& port(size_t i) { return *ports_[i]; }
  PacketPool& pool() { return *pool_; }

 private:
  void Carry() {
    while (!stop_) {
      Pass(*ports_[0], *ports_[1]);
      Pass(*ports_[1], *ports_[0]);
    }
  }
  static void Pass(Nic& from, Nic& to) {
    Burst burst;
    from.rx(QueueId(kFirst)).Receive(burst);
    for (int tries = 0; !burst.empty() && tries < 1000; ++tries) to.tx(QueueId(kFirst)).Send(burst);
    to.tx(QueueId(kFirst)).Reclaim();
  }

  Bench bench_;
  Namespace guest0_ = Namespace::Make("guest"), guest1_ = Namespace::Make("guest");
  VethPair cable0_{guest0_, "eth0", bench_.where, "port0", {.address_a = "10.0.0.1/24"}};
  VethPair cable1_{guest1_, "eth0", bench_.where, "port1", {.address_a = "10.0.0.2/24"}};
  std::unique_ptr<PacketPool> pool_ = MakePool({.packets = 8192, .huge_pages = HugePages::kOff});
  std::array<std::unique_ptr<XdpNic>, 2> ports_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_CASE("two kernels ping each other through two ports", "[xdp]") {
  Carrier carrier;
  const auto ping = carrier.guest(0).Run("ping -c 20 -i 0.01 -s 1400 10.0.0.2");
  INFO(ping.output);
  CHECK(Says(ping.output, " 0% packet loss"));
}

std::unique_ptr<Nic> OpenRight() { return MustOpen({.interface = "port0"}); }

TEST_CASE("what a kernel leaves uncut on TAP, an AF_XDP port sends as frames, with not one wrong", "[xdp]") {
  const testing::KernelBridge bridge({.open_right = OpenRight});
  testing::CheckWhole(bridge, testing::SendStream(bridge, 24'000'000));
  CHECK(bridge.longest_uncut() > testing::KernelBridge::kUncut);
  CHECK(bridge.MeanFrameAtRight() <= 1514);
}

TEST_CASE("datagrams that a kernel left to be cut reach another through an AF_XDP port", "[xdp]") {
  const testing::KernelBridge bridge({.left_tap = {.uso = Want::kRequire}, .open_right = OpenRight});
  testing::CheckWhole(bridge, testing::SendDatagrams(bridge, 20, 46));
  CHECK(bridge.uncut() >= 20);
}

TEST_CASE("a file crosses two ports over TCP unharmed, both ways", "[xdp]") {
  Carrier carrier;
  const int from = GENERATE(0, 1);
  Process server = carrier.guest(1 - from).Start(
      "exec python3 -c \"import socket,hashlib;s=socket.create_server(('',5001));"
      "c=s.accept()[0];h=hashlib.sha256();d=c.recv(65536)\nwhile d: "
      "h.update(d);d=c.recv(65536)\nprint(h.hexdigest(),flush=True)\"");
  const std::string address = from == 0 ? "10.0.0.2" : "10.0.0.1";
  const std::string sum = carrier.guest(from).MustRun(
      "python3 -c \"import socket,hashlib,os,time\n"
      "d=os.urandom(8<<20)\nfor i in range(100):\n try: s=socket.create_connection(('" +
      address +
      "',5001));break\n"
      " except OSError: time.sleep(0.05)\ns.sendall(d);s.close();print(hashlib.sha256(d).hexdigest())\"");
  CHECK(server.WaitForOutput("\n", absl::Seconds(20)));
  CHECK(server.Output() == sum);
}

}  // namespace
}  // namespace sluice
