// SPDX-License-Identifier: Apache-2.0
// Verbs ports that read and write the rings of an mlx5 card themselves. There is no such card here: one stands in for it, on
// top of a software verbs device (mlx5/card.h).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "sluice/base/status.h"
#include "sluice/packet/budget.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/mlx5_ports.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0}, kSecond{1};
constexpr uint32_t kRing = Mlx5Ports::kRing;
using Ports = Mlx5Ports;

constexpr VerbsNicOptions kDirect = {.direct_receive = Want::kRequire};
constexpr VerbsNicOptions kCompressed = {.direct_receive = Want::kRequire,
                                         .compressed_completions = Want::kRequire};

constexpr VerbsNicOptions kStriding = {.direct_receive = Want::kRequire, .striding = Want::kRequire};
constexpr VerbsNicOptions kStridingCompressed = {
    .direct_receive = Want::kRequire, .compressed_completions = Want::kRequire, .striding = Want::kRequire};
constexpr VerbsNicOptions kLro = {.lro = Want::kRequire};

std::unique_ptr<PacketPool> Pool() {
  return *PacketPool::Create({.packets = 2048, .huge_pages = HugePages::kOff});
}

Bytes Numbered(uint32_t number) {
  return UdpFrame({.source_port = static_cast<uint16_t>(number), .payload_size = 20 + number % 1000});
}

// Sends so many frames in bursts of up to `most`, and checks that all come, in order and byte by byte.
void Exchange(Ports& ports, uint32_t frames, uint32_t most) {
  uint32_t sent = 0;
  for (uint32_t received = 0; received < frames;) {
    std::vector<Bytes> burst;
    for (uint32_t i = 0; i < 1 + sent % most && sent < frames; ++i) burst.push_back(Numbered(sent++));
    ports.Send(burst);
    for (Burst got = ports.Receive(); !got.empty(); got = ports.Receive()) {
      for (const Packet* packet : got) {
        if (!Ports::Same(*packet, Numbered(received++))) FAIL(received);
      }
    }
    REQUIRE(received == sent);
  }
}

// As a card does that cannot go on; what was posted comes back, and the queue is made ready again.
void Break(Ports& ports) {
  ibv_wq_attr attr{};
  attr.attr_mask = IBV_WQ_ATTR_STATE;
  attr.wq_state = IBV_WQS_ERR;
  REQUIRE(ibv_modify_wq(ports.port().receiver(kFirst).work(), &attr) == 0);
  ports.library().Pump();
  CHECK(ports.Receive().empty());
  CHECK(ports.port().receiver(kFirst).work()->state == IBV_WQS_RDY);
  ports.library().Pump();
}

// The card tells of one frame what cannot be: that frame is lost, and those that come later are not.
void LoseOne(Ports& ports, void (*spoil)(mlx5_cqe64&)) {
  Exchange(ports, 100, 20);
  ports.library()->spoil = spoil;
  ports.Send({Numbered(1)});
  CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kDeviceError) == 1);
  CHECK(ports.ToldOfError());
  ports.library()->spoil = nullptr;
  Exchange(ports, 300, 20);
}

TEST_CASE("frames come through an mlx5 card's rings as they were sent round after round") {
  Ports ports;
  Exchange(ports, 3000, 40);
  CHECK(ports.library()->blocks == 0);
  CHECK(ports.port().rx(kFirst).stats().packets == 3000);
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("frames come through blocks of an mlx5 card's completions as they were sent") {
  Ports ports(kCompressed);
  ports.library()->most_in_block = GENERATE(2u, 7u, 8u, 9u, 33u, 64u);
  Exchange(ports, 3000, 40);
  CHECK(ports.library()->blocks > 10);
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("a block that is longer than the burst has room is received in parts") {
  Ports ports(kCompressed);
  std::vector<Bytes> frames;
  for (uint32_t i = 0; i < 50; ++i) frames.push_back(Numbered(i));
  ports.Send(frames);
  REQUIRE(ports.library()->blocks == 1);
  uint32_t next = 0;
  while (next < 50) {
    Burst burst;
    while (burst.room() > 7) burst.Push(ports.pool().GetOne());
    REQUIRE(ports.port().rx(kFirst).Receive(burst) == std::min(7u, 50 - next));
    for (size_t i = Burst::kCapacity - 7; i < burst.size(); ++i) CHECK(Ports::Same(burst[i], frames[next++]));
    ports.library().Pump();
  }
}

TEST_CASE(
    "checksums hashes and their kinds are told by direct receive of both families and with several queues") {
  Ports ports(kDirect, GENERATE(uint16_t{1}, uint16_t{2}));
  const auto check = [&](const Bytes& frame, RssType type) {
    Burst burst;
    ports.Send({frame});
    if ((burst = ports.Receive(kFirst)).empty() && ports.port().rx_count() > 1)
      burst = ports.Receive(kSecond);
    REQUIRE(burst.size() == 1);
    CHECK(burst[0].l3_checksum == ChecksumVerdict::kGood);
    CHECK(burst[0].l4_checksum == ChecksumVerdict::kGood);
    CHECK(burst[0].rss_type == type);
    CHECK(burst[0].rss_hash == (1000u << 16 | 2000));  // what the card takes for a hash
  };
  check(UdpFrame({}), RssType::kIpv4Udp);
  check(TcpFrame({}), RssType::kIpv4Tcp);
  check(UdpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"}), RssType::kIpv6Udp);
  check(TcpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"}), RssType::kIpv6Tcp);
}

TEST_CASE("frames come through strides of an mlx5 card as they were sent chunk after chunk") {
  const bool compressed = GENERATE(false, true);
  Ports ports(compressed ? kStridingCompressed : kStriding);
  Exchange(ports, 5000, 40);
  CHECK(ports.library()->fillers > 10);
  CHECK((ports.library()->blocks > 10) == compressed);
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("what a striding card says of a frame comes with its copy behind the headroom of the pool") {
  Ports ports(GENERATE(kStriding, kStridingCompressed));
  ports.Send({UdpFrame({}), UdpFrame({.payload_size = 1400}), UdpFrame({})});
  const Burst burst = ports.Receive();
  REQUIRE(burst.size() == 3);
  CHECK(Ports::Same(burst[1], UdpFrame({.payload_size = 1400})));
  for (const Packet* packet : burst) {
    CHECK(packet->l4_checksum == ChecksumVerdict::kGood);
    CHECK(packet->rss_type == RssType::kIpv4Udp);
    CHECK(packet->rss_hash == (1000u << 16 | 2000));
    CHECK(packet->headroom() == ports.pool().options().headroom);
    CHECK_FALSE(packet->borrows());
  }
}

TEST_CASE("chunks of an mlx5 card have as many bytes as the buffers of the ring") {
  Ports ports(kStriding);
  const auto& call = ports.library()->work_calls.back();
  CHECK(call.fields == MLX5DV_WQ_INIT_ATTR_MASK_STRIDING_RQ);
  CHECK(call.strides.single_stride_log_num_of_bytes == 6);
  CHECK(call.strides.single_wqe_log_num_of_strides == 9);
  CHECK(call.strides.two_byte_shift_en == 0);
  CHECK(call.requests == kRing * 2048 / 32768);
  CHECK(ports.library()->completions_calls.back().entries == call.requests * 512 - 1);
}

TEST_CASE("a pool that is empty leaves frames in their strides and they come when it has packets") {
  Ports ports(kStridingCompressed);
  std::vector<Bytes> frames;
  for (uint32_t i = 0; i < 20; ++i) frames.push_back(Numbered(i));
  ports.Send(frames);
  std::vector<Burst> all = ports.DrainPool();
  CHECK(ports.Receive().empty());
  Burst some;
  all.front().MoveFront(7, some);
  some.Clear();
  Burst got = ports.Receive();
  REQUIRE(got.size() == 7);
  all.clear();
  uint32_t next = 0;
  for (; !got.empty(); got = ports.Receive()) {
    for (const Packet* packet : got) CHECK(Ports::Same(*packet, frames[next++]));
  }
  CHECK(next == 20);
}

TEST_CASE("who owns a port of an mlx5 card pays for what is posted or for what came in strides") {
  const bool striding = GENERATE(false, true);
  Ports ports(striding ? kStriding : kDirect, 1, Ports::kPayer);
  CHECK(ports.charged() == (striding ? 0 : kRing * 2048));
  Exchange(ports, 300, 20);
  ports.Send({Numbered(1), Numbered(2), Numbered(3)});
  {
    const Burst burst = ports.Receive();
    REQUIRE(burst.size() == 3);
    CHECK(burst[0].owner() == Ports::kPayer);
    CHECK(ports.charged() >= 3 * 2048);
    if (striding) CHECK(ports.charged() == 3 * 2048);
  }
  REQUIRE(ports.port().Stop() == absl::OkStatus());
  CHECK(ports.charged() == 0);
}

TEST_CASE("a completion of strides that cannot be costs its frame and the queue is made ready again") {
  const auto [spoil, text] = GENERATE(table<void (*)(mlx5_cqe64&), const char*>(
      {{[](mlx5_cqe64& said) { said.op_own = MLX5_CQE_RESP_WR_IMM << 4; }, "of another kind"},
       {[](mlx5_cqe64& said) { said.byte_cnt = htobe32(60 | 513 << 16); }, "more strides than there are"},
       {[](mlx5_cqe64& said) { said.byte_cnt = htobe32(0xffff | 1 << 16); }, "longer than its strides"},
       {[](mlx5_cqe64& said) { said.wqe_counter = htobe16(0xffff); }, "of another stride"},
       {[](mlx5_cqe64& said) { said.wqe_id = htobe16(static_cast<uint16_t>(be16toh(said.wqe_id) + 1)); },
        "of another chunk"}}));
  INFO(text);
  Ports ports(kStriding);
  LoseOne(ports, spoil);
}

TEST_CASE("a frame in strides that no packet holds is dropped as too long and the queue goes on") {
  Ports ports(kStriding);
  ports.library()->spoil = [](mlx5_cqe64& said) { said.byte_cnt = htobe32(2000 | 32 << 16); };
  ports.Send({UdpFrame({.payload_size = 20})});
  CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kTooLong) == 1);
  CHECK_FALSE(ports.ToldOfError());
}

TEST_CASE("a striding queue that fails is given its chunks again and frames come as before") {
  Ports ports(GENERATE(kStriding, kStridingCompressed));
  for (int round = 0; round < 5; ++round) {
    Exchange(ports, 200, 30);
    Break(ports);
    CHECK(ports.ToldOfError());
  }
  Exchange(ports, 200, 30);
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("frames in strides that nobody received count as stopped with a pool that is empty too") {
  Ports ports(GENERATE(kStriding, kStridingCompressed));
  std::vector<Bytes> frames(30, Numbered(1));
  ports.Send(frames);
  std::vector<Burst> all;
  if (GENERATE(false, true)) {
    all = ports.DrainPool();
  }
  REQUIRE(ports.port().Stop() == absl::OkStatus());
  CHECK(ports.Drops(DropReason::kStopped) == 30);
}

TEST_CASE("what the card does not vouch for direct receive leaves open") {
  Ports ports;
  Bytes wrong = UdpFrame({});
  wrong.back() ^= 1;
  const PacketPtr bad = ports.Through(wrong);
  CHECK(bad->l4_checksum == ChecksumVerdict::kUnknown);
  const PacketPtr arp = ports.Through(ArpFrame({}));
  CHECK(arp->l3_checksum == ChecksumVerdict::kUnknown);
  CHECK(arp->rss_type == RssType::kNone);
  ports.library()->spoil = [](mlx5_cqe64& said) {
    said.rsvd0[0] |= 1;
  };  // the verdicts are of inside a tunnel
  CHECK(ports.Through(UdpFrame({}))->l4_checksum == ChecksumVerdict::kUnknown);
}

TEST_CASE("marks stripped tags and stamps are told by direct receive") {
  VerbsNicOptions options = kDirect;
  options.strip_vlan = options.stamp = true;
  Ports ports(options);
  REQUIRE(ports.port()
              .InstallRule(*Rule::Parse(
                  "pattern eth dst is 02:00:00:00:00:02 / end actions queue index 0 / mark id 77 / end"))
              .ok());
  ports.Send({UdpFrame({.vlans = {0x6123}}), UdpFrame({.destination_mac = "02:00:00:00:00:03"})});
  const Burst burst = ports.Receive();
  REQUIRE(burst.size() == 2);
  CHECK(burst[0].mark() == 77);
  CHECK(burst[0].vlan_stripped);
  CHECK(burst[0].vlan_tci == 0x6123);
  CHECK(Ports::Same(burst[0], UdpFrame({})));
  CHECK(burst[0].timestamp() != 0);
  CHECK(burst[1].mark() == 0);
  CHECK_FALSE(burst[1].vlan_stripped);
}

TEST_CASE("a completion that cannot be costs its frame and the queue is made ready again") {
  const auto [spoil, text] = GENERATE(table<void (*)(mlx5_cqe64&), const char*>(
      {{[](mlx5_cqe64& said) { said.op_own = MLX5_CQE_RESP_WR_IMM << 4; }, "of another kind"},
       {[](mlx5_cqe64& said) { said.byte_cnt = htobe32(1 << 20); }, "longer than its buffer"},
       {[](mlx5_cqe64& said) {
          said.wqe_counter = htobe16(static_cast<uint16_t>(be16toh(said.wqe_counter) + 5));
        },
        "of another request"}}));
  INFO(text);
  Ports ports;
  LoseOne(ports, spoil);
}

TEST_CASE("frames behind one that ended a queue are counted each once") {
  Ports ports;
  bool first = true;
  ports.library()->spoil = [&first](mlx5_cqe64& said) {
    if (std::exchange(first, false)) said.byte_cnt = htobe32(1 << 20);
  };
  ports.Send({Numbered(0), Numbered(1), Numbered(2), Numbered(3)});
  CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kDeviceError) == 4);
  Exchange(ports, 100, 20);
}

TEST_CASE("a frame too long for a buffer is counted by direct receive and the queue goes on") {
  Ports ports;
  ports.library()->spoil = [](mlx5_cqe64& said) {
    said.op_own = MLX5_CQE_RESP_ERR << 4;
    reinterpret_cast<mlx5_err_cqe&>(said).syndrome = 0x01;
  };
  ports.Send({Numbered(1), Numbered(2)});
  CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kTooLong) == 2);
  ports.library()->spoil = nullptr;
  Exchange(ports, 200, 20);
  CHECK_FALSE(ports.ToldOfError());
}

TEST_CASE("a block that cannot be ends its queue which says so and gives all back at Stop") {
  const uint32_t members = GENERATE(0u, 1u, 100000u);
  Ports ports(kCompressed);
  ports.library()->spoil = [members](mlx5_cqe64& said) {
    if ((said.op_own & 0xc) == 0xc) said.byte_cnt = htobe32(members);
  };
  ports.Send({Numbered(1), Numbered(2), Numbered(3)});
  for (int i = 0; i < 5; ++i) CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kDeviceError) == 1);
  CHECK(ports.ToldOfError());
}

TEST_CASE("a work queue that fails is filled again by direct receive and frames come as before") {
  Ports ports(GENERATE(kDirect, kCompressed));
  for (int round = 0; round < 5; ++round) {
    Exchange(ports, 100, 30);
    Break(ports);
  }
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("what nobody received counts as stopped also from a block that was begun") {
  Ports ports(kCompressed);
  std::vector<Bytes> frames(30, Numbered(1));
  ports.Send(frames);
  Burst burst;
  while (burst.room() > 5) burst.Push(ports.pool().GetOne());
  REQUIRE(ports.port().rx(kFirst).Receive(burst) == 5);
  REQUIRE(ports.port().Stop() == absl::OkStatus());
  CHECK(ports.Drops(DropReason::kStopped) == 25);
}

TEST_CASE("completions are 64 bytes each and there is room for a block beside what comes while it is read") {
  const bool compressed = GENERATE(false, true);
  Ports ports(compressed ? kCompressed : kDirect);
  const auto& call = ports.library()->completions_calls.back();
  CHECK(call.entries == (compressed ? 2 * kRing - 1 : kRing));
  CHECK(call.size == 64);
  const uint64_t block = compressed ? uint64_t{MLX5DV_CQ_INIT_ATTR_MASK_COMPRESSED_CQE} : 0;
  CHECK(call.fields == (MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE | block));
  CHECK(call.format == (compressed ? MLX5DV_CQE_RES_FORMAT_HASH : 0));
}

TEST_CASE("direct receive is off unless it is asked for and then said to be used") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  CHECK(device.Told("direct receive").detail == "by rings in memory; not asked for");
  CHECK(device.Told("direct receive", kCompressed).detail == "by rings in memory; used");
  CHECK(device.Told("compressed completions", kCompressed).detail == "up to 64 in one; used");
  CHECK(device.Told("striding receive queues", kStriding).detail ==
        "512 strides of 64 bytes in one request; used");
  CHECK(device.Told("compressed completions", {.compressed_completions = Want::kPrefer}).detail ==
        "up to 64 in one; not used: direct_receive is off");
  CHECK_FALSE(ModeOf(*device.OpenNic({}), "direct-receive").active);
  CHECK(ModeOf(*device.OpenNic({}), "direct-receive").reason.empty());
  CHECK(ModeOf(*device.OpenNic(kCompressed), "direct-receive").active);
  CHECK(ModeOf(*device.OpenNic(kCompressed), "compressed-completions").active);
}

TEST_CASE("where rings cannot be read direct receive tells why and verbs are used or the port is refused") {
  Mlx5Library library;
  SoftwareVerbsOptions soft;
  std::string missing;
  SECTION("no library") {
    missing = std::string(SLUICE_MLX5_STAND_IN_OLD) + " is not loaded, as it would be for an mlx5 device";
  }
  SECTION("no work queues") {
    soft.hardware.max_work_queues = 0;
    missing = "the device has no work queues that frames are spread over";
  }
  SECTION("completions of another size") {
    library->completion_size = 128;
    missing = "the card's rings look like none that are known here: Protocol error (EPROTO)";
  }
  SECTION("segments of another size") {
    library->segment_size = 32;
    missing = "the card's rings look like none that are known here: Protocol error (EPROTO)";
  }
  SECTION("a library that refuses") {
    library->rings_error = EINVAL;
    missing = "libmlx5 does not tell where the rings are: Invalid argument (EINVAL)";
  }
  SECTION("no completion queue") {
    library->completions_error = ENOMEM;
    missing = "no completion queue of 2: Cannot allocate memory (ENOMEM)";
  }
  Mlx5Device device(
      missing.find("is not loaded") == std::string::npos ? library.path() : SLUICE_MLX5_STAND_IN_OLD, soft);
  const auto pool = Pool();
  const auto nic = device.OpenNic({.direct_receive = Want::kPrefer});
  const ModeInForce mode = ModeOf(*nic, "direct-receive");
  CHECK_FALSE(mode.active);
  CHECK(mode.reason == missing);
  CHECK(nic->Start({.rx_ring = kRing, .tx_ring = kRing, .pool = pool.get()}) == absl::OkStatus());
  CHECK(nic->receiver(kFirst).direct() == nullptr);
  const absl::Status refused = device.Open(kDirect).status();
  CHECK(refused.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(refused)->capability == "direct receive");
  CHECK(ProblemOf(refused)->what == missing);
}

TEST_CASE("blocks are not asked for where the card has none or stamps or nobody reads rings") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  VerbsNicOptions options = {.direct_receive = Want::kPrefer, .compressed_completions = Want::kRequire};
  std::string missing;
  SECTION("none") {
    library->tells.cqe_comp_caps = {};
    missing = "cqe_comp_caps.max_num is 0";
  }
  SECTION("no hashes") {
    library->tells.cqe_comp_caps.supported_format = MLX5DV_CQE_RES_FORMAT_CSUM;
    missing = "cqe_comp_caps has no format with hashes";
  }
  SECTION("stamps") {
    options.stamp = true;
    missing = "the card's stamps are one for a whole block";
  }
  SECTION("no direct receive") {
    options.direct_receive = Want::kOff;
    missing = "direct_receive is off";
  }
  const absl::Status refused = device.Open(options).status();
  CHECK(ProblemOf(refused)->capability == "compressed completions");
  CHECK(ProblemOf(refused)->what == missing);
  options.compressed_completions = Want::kPrefer;
  CHECK(ModeOf(*device.OpenNic(options), "compressed-completions").reason == missing);
}

TEST_CASE("striding queues are not asked for where the card has none or the library cannot make them") {
  Mlx5Library library;
  VerbsNicOptions options = {.direct_receive = Want::kPrefer, .striding = Want::kRequire};
  std::string missing;
  SECTION("none") {
    library->tells.striding_rq_caps = {};
    missing = "striding_rq_caps has no raw packets";
  }
  SECTION("no direct receive") {
    options.direct_receive = Want::kOff;
    missing = "direct_receive is off";
  }
  SECTION("refused") {
    library->work_error = EOPNOTSUPP;
    missing = "no work queue of 2 requests: Operation not supported (EOPNOTSUPP)";
  }
  Mlx5Device device(library.path());
  const absl::Status refused = device.Open(options).status();
  CHECK(ProblemOf(refused)->capability == "striding receive queues");
  CHECK(ProblemOf(refused)->what == missing);
  options.striding = Want::kPrefer;
  CHECK(ModeOf(*device.OpenNic(options), "striding").reason == missing);
}

TEST_CASE("a card whose least chunks are larger gets such") {
  Mlx5Library library;
  library->tells.striding_rq_caps.min_single_stride_log_num_of_bytes = 7;
  library->tells.striding_rq_caps.min_single_wqe_log_num_of_strides = 10;
  Mlx5Device device(library.path());
  (void)device.OpenNic(kStriding);
  CHECK(library->work_calls.back().strides.single_stride_log_num_of_bytes == 7);
  CHECK(library->work_calls.back().strides.single_wqe_log_num_of_strides == 10);
}

// The card on a thread of its own, with real concurrency between it and the port.
Subject CardSubject(const VerbsNicOptions& options) {
  Subject subject = VerbsSubject();
  subject.open = [options] {
    struct Around {
      explicit Around(std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>> wires)
          : device(library.path(), {}, std::move(wires.first)),
            soft({.name = "soft1"}, std::move(wires.second)) {}
      Mlx5Library library;
      Mlx5Device device;
      SoftContext soft;
    };
    const auto around = std::make_shared<Around>(MakeWirePair());
    around->library.Run();
    Rig rig;
    VerbsNicOptions near = options;
    near.mac = MacAddress({2, 0, 0, 0, 0, 1});
    rig.a = around->device.OpenNic(near);
    rig.b = OpenOn(around->soft, {.device = "soft1", .mac = MacAddress({2, 0, 0, 0, 0, 2})});
    rig.around = around;
    return rig;
  };
  return subject;
}

TEST_CASE("a verbs port keeps the promises of a Nic by direct receive", "[conformance]") {
  Subject subject = CardSubject(GENERATE(kDirect, kCompressed, kStriding, kStridingCompressed, kLro));
  subject.ring = 1024;
  subject.restarts = 10;
  CheckConformance(subject);
}

}  // namespace
}  // namespace sluice::testing
