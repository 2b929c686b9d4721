// SPDX-License-Identifier: Apache-2.0
// Verbs ports whose mlx5 card joins segments of TCP. There is no such card here: one stands in for it, on top of a software
// verbs device (mlx5/card.h, mlx5/devx.h). What is asked of it is read here by the places of the card's manual, apart from
// what wrote it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <map>

#include "sluice/base/status.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/segment.h"
#include "tests/nic/mlx5_ports.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0}, kSecond{1};
constexpr VerbsNicOptions kLro = {.lro = Want::kRequire};

// Of one direction of one connection, each behind the last. Ids count, unless the first is zero.
class Stream {
 public:
  explicit Stream(FrameSpec like = {.ip_id = 100}) : like_(std::move(like)), counts_(like_.ip_id != 0) {
    like_.flags_offset = Ipv4Header::kDontFragment;
  }

  Bytes Next(size_t bytes, uint8_t more_flags = 0) {
    FrameSpec spec = like_;
    spec.payload_size = 0;
    for (size_t i = 0; i < bytes; ++i)
      spec.bytes.push_back(static_cast<uint8_t>((like_.sequence + i) * 7 >> 3));
    spec.tcp_flags |= more_flags;
    like_.sequence += static_cast<uint32_t>(bytes);
    if (counts_) ++like_.ip_id;
    return TcpFrame(spec);
  }
  std::vector<Bytes> Some(size_t count, size_t bytes) {
    std::vector<Bytes> frames;
    for (size_t i = 0; i < count; ++i) frames.push_back(Next(bytes));
    return frames;
  }

 private:
  FrameSpec like_;
  const bool counts_;
};

FrameSpec SixSpec() { return {.source = "2001:db8::1", .destination = "2001:db8::2"}; }
// RFC 7323, 3.2, behind two that do nothing.
Bytes Timestamps() { return {1, 1, 8, 10, 0, 0, 0x12, 0x34, 0, 0, 0x56, 0x78}; }

// Cuts a packet as a port does that has no hardware for it.
std::vector<Bytes> CutAgain(PacketPool& pool, PacketPtr packet) {
  REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  Segmenter segmenter({.pool = &pool});
  REQUIRE_FALSE(segmenter.Begin(packet).has_value());
  std::vector<Bytes> frames;
  while (!segmenter.done()) {
    Burst burst;
    segmenter.Next(burst);
    for (const Packet* segment : burst) frames.push_back(BytesOf(*segment));
  }
  return frames;
}

// One packet of all, in which everything is right.
PacketPtr JoinedOf(Mlx5Ports& ports, const std::vector<Bytes>& frames) {
  ports.Send(frames);
  Burst burst = ports.Receive();
  REQUIRE(burst.size() == 1);
  PacketPtr packet = burst.PopFront();
  CHECK(packet->coalesced_segments() == frames.size());
  CHECK(packet->offload.segment);
  CHECK(packet->offload.mss == packet->coalesced_size());
  CHECK(packet->offload.fixed_ids == packet->coalesced_ids());
  REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  CHECK(VerifyIpv4Checksum(*packet, LayerSet::kOuter) != ChecksumVerdict::kBad);
  CHECK(VerifyL4Checksum(*packet, LayerSet::kOuter) == ChecksumVerdict::kGood);
  return packet;
}

TEST_CASE("segments of TCP come as one frame from an mlx5 card and cutting it gives what was sent") {
  FrameSpec like = GENERATE(FrameSpec{}, SixSpec());
  if (GENERATE(false, true)) like.tcp_options = Timestamps();
  like.ip_id = GENERATE(uint16_t{0}, uint16_t{0xfffe});
  const size_t size = GENERATE(size_t{1000}, size_t{1001}, size_t{1428});
  Stream stream(like);
  std::vector<Bytes> frames = stream.Some(GENERATE(size_t{1}, size_t{8}, size_t{20}), size);
  frames.push_back(stream.Next(GENERATE(size_t{1}, size_t{300}), TcpHeader::kPsh));
  Mlx5Ports ports(kLro);
  PacketPtr packet = JoinedOf(ports, frames);
  CHECK(packet->l3_checksum == ChecksumVerdict::kGood);
  CHECK(packet->l4_checksum == ChecksumVerdict::kGood);
  CHECK(packet->coalesced_size() == size);
  CHECK(packet->rss_type == (like.source == "10.0.0.1" ? RssType::kIpv4Tcp : RssType::kIpv6Tcp));
  CHECK(packet->headroom() == ports.pool().options().headroom);
  CHECK(CutAgain(ports.pool(), std::move(packet)) == frames);
  CHECK(ports.library()->joined == 1);
}

TEST_CASE("what an mlx5 card joined goes out of a port as the frames that it was") {
  VerbsNicOptions options = kLro;
  options.segmentation =
      GENERATE(Want::kOff, Want::kPrefer);  // by software, or by what stands in for the card
  Mlx5Ports ports(options);
  Stream stream(GENERATE(FrameSpec{.ip_id = 7}, SixSpec()));
  std::vector<Bytes> frames = stream.Some(30, 1200);
  frames.push_back(stream.Next(77, TcpHeader::kPsh));
  Burst burst;
  burst.Push(JoinedOf(ports, frames));
  REQUIRE(ports.port().tx(kFirst).Send(burst) == 1);
  std::vector<Bytes> back;
  for (int i = 0; i < 10; ++i) {
    Burst got;
    ports.neighbour().rx(kFirst).Receive(got);
    for (const Packet* packet : got) back.push_back(BytesOf(*packet));
    ports.port().tx(kFirst).Reclaim();
  }
  CHECK(back == frames);
}

TEST_CASE("what was last acknowledged and the least hops left are in the frame that an mlx5 card joined") {
  const bool six = GENERATE(false, true);
  Mlx5Ports ports(kLro);
  const auto segment = [six](uint32_t number, uint8_t ttl, uint8_t flags) {
    FrameSpec spec = six ? SixSpec() : FrameSpec{};
    spec.sequence = 1 + number * 100;
    spec.acknowledgment = 7000 + number;
    spec.ttl = ttl;
    spec.tcp_flags = flags;
    spec.payload_size = 100;
    return TcpFrame(spec);
  };
  constexpr uint8_t kAck = TcpHeader::kAck, kAckPsh = TcpHeader::kAck | TcpHeader::kPsh;
  const PacketPtr packet =
      JoinedOf(ports, {segment(0, 64, kAck), segment(1, 60, kAck), segment(2, 63, kAckPsh)});
  const LayerOffsets& at = packet->layers().outer;
  const auto& tcp = *HeaderAt<TcpHeader>(packet->data(), at.l4);
  CHECK(tcp.acknowledgment.get() == 7002);
  CHECK(tcp.sequence.get() == 1);
  CHECK(tcp.flags == kAckPsh);
  CHECK(packet->data()[at.l3 + (six ? 7 : 8)] == 60);
}

// Bytes of payload of each connection, by its source port, in the order in which they came.
std::map<uint16_t, Bytes> PayloadOf(const std::vector<Bytes>& frames) {
  std::map<uint16_t, Bytes> streams;
  for (const Bytes& frame : frames) {
    Layers layers;
    REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
    Bytes& stream = streams[HeaderAt<TcpHeader>(frame.data(), layers.outer.l4)->source_port.get()];
    stream.insert(stream.end(), frame.begin() + layers.outer.payload, frame.end());
  }
  return streams;
}

TEST_CASE("long streams come whole from an mlx5 card that joins them chunk after chunk") {
  Mlx5Ports ports(kLro);
  std::vector<Stream> streams;
  for (uint16_t port = 1; port <= 3; ++port) streams.emplace_back(FrameSpec{.source_port = port});
  std::vector<Bytes> sent, received;
  for (uint32_t round = 0; round < 200; ++round) {
    std::vector<Bytes> burst;
    for (uint32_t i = 0; i < 1 + round % 40; ++i) {
      burst.push_back(streams[(i + round) % 7 % 3].Next(1 + (round * 131 + i * 17) % 1400));
    }
    ports.Send(burst);
    sent.insert(sent.end(), burst.begin(), burst.end());
    for (Burst got = ports.Receive(); !got.empty(); got = ports.Receive()) {
      for (const Packet* packet : got) received.push_back(BytesOf(*packet));
    }
  }
  CHECK(PayloadOf(received) == PayloadOf(sent));
  CHECK(ports.library()->joined > 100);
  CHECK(ports.library()->fillers > 5);
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("the longest that an mlx5 card joins is a chain of packets which the port's owner pays for") {
  Mlx5Ports ports(kLro, 1, Mlx5Ports::kPayer);
  const std::vector<Bytes> frames = Stream().Some(46, 1400);
  {
    PacketPtr packet = JoinedOf(ports, frames);
    const uint32_t length = 54 + 46 * 1400, piece = 2048 - ports.pool().options().headroom;
    CHECK(packet->length() == length);
    const uint32_t pieces = (length + piece - 1) / piece;
    uint32_t count = 0, bytes = 0;
    for (const Packet* one = packet.get(); one != nullptr; one = one->next()) {
      ++count;
      bytes += one->head_length();
      CHECK(one->owner() == Mlx5Ports::kPayer);
    }
    CHECK(count == pieces);
    CHECK(bytes == length);
    CHECK(ports.charged() == pieces * 2048);
    CHECK(packet->ingress_queue == kFirst);
  }
  CHECK(ports.charged() == 0);
}

TEST_CASE("frames that were joined come also into bursts with little room") {
  Mlx5Ports ports(kLro);
  std::vector<Stream> streams;
  std::vector<Bytes> frames;
  for (uint16_t port = 1; port <= 4; ++port) {
    const std::vector<Bytes> some = Stream(FrameSpec{.source_port = port}).Some(10, 1400);
    frames.insert(frames.end(), some.begin(), some.end());
  }
  ports.Send(frames);
  const size_t room = GENERATE(size_t{1}, size_t{3}, size_t{60});
  size_t came = 0;
  while (came < 4) {
    Burst burst;
    while (burst.room() > room) burst.Push(ports.pool().GetOne());
    const size_t got = ports.port().rx(kFirst).Receive(burst);
    REQUIRE(got == std::min(room, 4 - came));
    came += got;
  }
  CHECK(ports.Receive().empty());
}

TEST_CASE("a frame that was joined waits in its strides until the pool has packets for all of it") {
  Mlx5Ports ports(kLro);
  const std::vector<Bytes> frames = Stream().Some(10, 1400);  // eight packets
  ports.Send(frames);
  std::vector<Burst> all = ports.DrainPool();
  CHECK(ports.Receive().empty());
  Burst some;
  all.front().MoveFront(7, some);
  some.Clear();
  CHECK(ports.Receive().empty());
  CHECK(ports.pool().available() == 7);
  all.front().MoveFront(1, some);
  some.Clear();
  const Burst got = ports.Receive();
  REQUIRE(got.size() == 1);
  CHECK(got[0].coalesced_segments() == 10);
  all.clear();
  CHECK(ports.port().drops().total() == 0);
}

TEST_CASE("what is no TCP and what comes alone comes as it was sent from an mlx5 card that joins") {
  Mlx5Ports ports(kLro);
  for (const Bytes& frame :
       {UdpFrame({}), ArpFrame({}), TcpFrame({}), TcpFrame({.tcp_flags = TcpHeader::kSyn}),
        UdpFrame(SixSpec()), TcpFrame(SixSpec())}) {
    const PacketPtr packet = ports.Through(frame);
    CHECK(packet->coalesced_segments() == 0);
    CHECK_FALSE(packet->offload.any());
  }
  CHECK(ports.library()->joined == 0);
}

TEST_CASE("frames of several queues are joined before and after a change of their spread") {
  Mlx5Ports ports(kLro, 2);
  const auto exchange = [&ports](uint16_t port) {
    ports.Send(Stream(FrameSpec{.source_port = port}).Some(12, 1200));
    Burst burst = ports.Receive(kFirst);
    const QueueId queue = burst.empty() ? kSecond : kFirst;
    if (burst.empty()) burst = ports.Receive(kSecond);
    REQUIRE(burst.size() == 1);
    CHECK(burst[0].coalesced_segments() == 12);
    CHECK(burst[0].ingress_queue == queue);
    return queue.value();
  };
  std::map<uint16_t, uint32_t> queues;
  for (uint16_t port = 1; port <= 40; ++port) ++queues[exchange(port)];
  CHECK(queues.size() == 2);
  CHECK(ports.library()->tirs == 2);
  CHECK(ports.library()->matchers == 2);
  const RssConfig second = *RssConfig::Spread(2).WithTable({kSecond, kSecond});
  REQUIRE(ports.port().SetRss(second) == absl::OkStatus());
  for (uint16_t port = 1; port <= 20; ++port) CHECK(exchange(port) == kSecond.value());
  REQUIRE(ports.port().SetRss(*RssConfig::Spread(2).WithTable({kFirst})) == absl::OkStatus());
  for (uint16_t port = 1; port <= 20; ++port) CHECK(exchange(port) == kFirst.value());
  CHECK(ports.library()->tirs == 2);
  CHECK(ports.library()->matchers == 2);
}

TEST_CASE("what a rule takes comes in segments and the rest joined") {
  Mlx5Ports ports(kLro);
  const auto rule = ports.port().InstallRule(
      *Rule::Parse("pattern eth / ipv4 / tcp src is 9 / end actions queue index 0 / mark id 5 / end"));
  REQUIRE(rule.ok());
  ports.Send(Stream(FrameSpec{.source_port = 9}).Some(5, 500));
  {
    const Burst alone = ports.Receive();
    CHECK(alone.size() == 5);
    for (const Packet* packet : alone) CHECK(packet->mark() == 5);
  }
  CHECK(JoinedOf(ports, Stream(FrameSpec{.source_port = 8}).Some(5, 500))->mark() == 0);
  REQUIRE(ports.port().RemoveRule(*rule) == absl::OkStatus());
  JoinedOf(ports, Stream(FrameSpec{.source_port = 9}).Some(5, 500));
}

TEST_CASE("a rule without a queue leads to the one queue of a port that joins") {
  Mlx5Ports ports(kLro);
  REQUIRE(ports.port()
              .InstallRule(*Rule::Parse("pattern eth dst is 02:00:00:00:00:02 / end actions mark id 5 / end"))
              .ok());
  CHECK(ports.Through(UdpFrame({}))->mark() == 5);
  REQUIRE(ports.port().SetRss(*RssConfig::Spread(1).WithTable({kFirst})) == absl::OkStatus());
  CHECK(ports.Through(UdpFrame({}))->mark() == 5);
  JoinedOf(ports, Stream(FrameSpec{.destination_mac = "02:00:00:00:00:03"}).Some(5, 500));
}

TEST_CASE("a port that joins starts anew as it was and leaves nothing on its card") {
  Mlx5Library library;
  auto wires = MakeWirePair();
  Mlx5Device device(library.path(), {}, std::move(wires.first));
  const auto pool = *PacketPool::Create({.packets = 2048, .huge_pages = HugePages::kOff});
  const auto nic = device.OpenNic(kLro);
  CHECK(library->tirs == 0);  // but for the trial
  CHECK(library->matchers == 0);
  for (int round = 0; round < 3; ++round) {
    REQUIRE(nic->Start({.rx_queues = 2, .rx_ring = 64, .tx_ring = 64, .pool = pool.get()}) ==
            absl::OkStatus());
    CHECK(library->tirs == 2);
    REQUIRE(nic->Stop() == absl::OkStatus());
    CHECK(library->tirs == 0);
    CHECK(library->matchers == 0);
  }
}

TEST_CASE("a port that joins starts only where there are packets for the longest frame") {
  constexpr OwnerId kPayer{7};
  Mlx5Library library;
  Mlx5Device device(library.path());
  const auto book = *BudgetBook::Create({});
  const auto pool =
      *PacketPool::Create({.packets = 2048, .huge_pages = HugePages::kOff, .budget = book.get()});
  const auto nic = device.OpenNic(kLro);
  const QueueOptions queues = {.rx_ring = 64, .tx_ring = 64, .pool = pool.get(), .owner = kPayer};
  REQUIRE(book->SetAllowance(kPayer, 34 * 2048) == absl::OkStatus());
  const absl::Status refused = nic->Start(queues);
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK(ProblemOf(refused)->what == "queue 0 wants 35 packets; the pool has 2048 in all");
  CHECK(book->Use(kPayer).used == 0);
  REQUIRE(book->SetAllowance(kPayer, 35 * 2048) == absl::OkStatus());
  CHECK(nic->Start(queues) == absl::OkStatus());
  CHECK(book->Use(kPayer).used == 0);
}

TEST_CASE("a frame that was joined and that nobody received counts as stopped") {
  Mlx5Ports ports(kLro);
  ports.Send(Stream().Some(20, 1400));
  std::vector<Burst> all;
  if (GENERATE(false, true)) {
    all = ports.DrainPool();
  }
  REQUIRE(ports.port().Stop() == absl::OkStatus());
  CHECK(ports.Drops(DropReason::kStopped) == 1);
}

// Field by field.
// ---------------------------------------------------------------------------------------------------------

uint32_t Read(const Mlx5StandIn::Bits& bits, size_t at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | bits[at + i];
  return value;
}
std::vector<Mlx5StandIn::Bits> CommandsOf(Mlx5Library& library, uint32_t opcode) {
  std::vector<Mlx5StandIn::Bits> all;
  for (const Mlx5StandIn::Bits& command : library->commands) {
    if (Read(command, 0, 2) == opcode) all.push_back(command);
  }
  return all;
}

TEST_CASE("the card is asked what it can do to Ethernet frames and for the domain of what sends") {
  Mlx5Ports ports(kLro);
  const auto abilities = CommandsOf(ports.library(), 0x100);  // QUERY_HCA_CAP
  REQUIRE(abilities.size() == 1);
  CHECK(abilities[0].size() == 16);
  CHECK(Read(abilities[0], 6, 2) == 3);                    // op_mod: current, ETHERNET_OFFLOAD_CAPS
  const auto domain = CommandsOf(ports.library(), 0x915);  // QUERY_TIS
  REQUIRE(domain.size() == 1);
  CHECK(domain[0].size() == 16);
  CHECK(Read(domain[0], 9, 3) == 0x515151);  // tisn
}

TEST_CASE("a TIR that joins is asked for as the card's manual has it") {
  Mlx5Ports ports(kLro, 2);
  const auto made = CommandsOf(ports.library(), 0x900);  // CREATE_TIR
  REQUIRE(made.size() == 3);                             // the first on trial
  for (size_t i = 1; i < 3; ++i) {
    const Mlx5StandIn::Bits& command = made[i];
    REQUIRE(command.size() == 32 + 240);
    const Mlx5StandIn::Bits context(command.begin() + 32, command.end());
    CHECK(Read(context, 4, 4) == 0x10000000);  // disp_type: INDIRECT
    // lro_timeout_period_usecs in bits 4 to 19, lro_enable_mask in 20 to 23, lro_max_msg_sz in the last 8
    CHECK(Read(context, 16, 4) == (32u << 12 | 3u << 8 | 255));
    CHECK(Read(context, 28, 4) == 0);           // inline_rqn
    CHECK(Read(context, 32, 4) >> 24 == 0x80);  // rx_hash_symmetric, and no tunneled_offload_en
    CHECK((Read(context, 32, 4) & 0xffffff) != 0);
    CHECK(Read(context, 36, 1) == 0x22);      // rx_hash_fn: TOEPLITZ; self_lb_block: MULTICAST
    CHECK(Read(context, 37, 3) == 0x00d1d1);  // transport_domain
    CHECK(std::memcmp(&context[40], kMicrosoftRssKey.data(), 40) == 0);
    const uint32_t six = i == 1 ? 0 : 1;
    CHECK(Read(context, 80, 4) ==
          (six << 31 | 0xf));  // l3_prot_type, l4_prot_type: TCP, selected_fields: all four
    CHECK(Read(context, 84, 4) == 0);
    CHECK(std::all_of(context.begin() + 84, context.end(), [](uint8_t byte) { return byte == 0; }));
  }
}

TEST_CASE("what is hashed of TCP is what the spread says") {
  Mlx5Ports ports(kLro, 2);
  RssOptions options{.table = {kFirst, kSecond}};
  options.types = {RssType::kIpv4, RssType::kIpv6Tcp};
  ports.library()->commands.clear();
  REQUIRE(ports.port().SetRss(*RssConfig::Create(options)) == absl::OkStatus());
  const auto made = CommandsOf(ports.library(), 0x900);
  REQUIRE(made.size() == 2);
  CHECK(Read(made[0], 32 + 80, 4) == 3);           // SRC_IP and DST_IP, IPv4
  CHECK(Read(made[1], 32 + 80, 4) == 0x8000000f);  // and the ports, IPv6
}

TEST_CASE("an address that is not hashed goes to the first queue and is joined all the same") {
  Mlx5Ports ports(kLro, 2);
  RssOptions options{.table = {kSecond, kFirst}};
  options.types = {};
  REQUIRE(ports.port().SetRss(*RssConfig::Create(options)) == absl::OkStatus());
  ports.Send(Stream().Some(5, 500));
  const Burst burst = ports.Receive(kSecond);
  REQUIRE(burst.size() == 1);
  CHECK(burst[0].coalesced_segments() == 5);
}

TEST_CASE("flows to a TIR look at version and protocol of IP and at the address if need be") {
  const VerbsTake take = GENERATE(VerbsTake::kAll, VerbsTake::kOwnAddress);
  VerbsNicOptions options = kLro;
  options.take = take;
  options.mac = MacAddress({2, 0, 0, 0, 0, 2});
  Mlx5Ports ports(options);
  std::vector<Mlx5StandIn::FlowCall> calls = ports.library()->flow_calls;
  REQUIRE(calls.size() == (take == VerbsTake::kAll ? 3u : 5u));
  calls.erase(calls.begin());  // the trial
  const uint16_t priority = calls[0].priority;
  for (size_t i = 0; i < calls.size(); ++i) {
    const Mlx5StandIn::FlowCall& call = calls[i];
    CHECK(call.criteria == 1);  // outer headers
    CHECK(call.actions == 1);
    CHECK(call.action == MLX5DV_FLOW_ACTION_DEST_DEVX);
    CHECK(call.priority == priority);
    const bool six = i >= calls.size() / 2;
    Bytes mask(64), value(64);
    mask[16] = 0xff, value[16] = 6;                        // ip_protocol
    mask[18] = 0x0f << 1, value[18] = (six ? 6 : 4) << 1;  // ip_version
    if (take == VerbsTake::kOwnAddress && i % 2 == 0) {
      std::fill_n(&mask[8], 6, uint8_t{0xff});  // dmac
      value[8] = 2, value[13] = 2;
    } else if (take == VerbsTake::kOwnAddress) {
      mask[8] = value[8] = 1;
    }
    CHECK(call.mask == mask);
    CHECK(call.value == value);
  }
  if (take == VerbsTake::kAll) return;
  CHECK(JoinedOf(ports, Stream().Some(3, 100)) != nullptr);
  ports.Send(Stream(FrameSpec{.destination_mac = "02:00:00:00:00:77"}).Some(3, 100));
  CHECK(ports.Receive().empty());
}

TEST_CASE("chunks of a port that joins hold two of the longest frames if the card can do that") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  const auto [most, count, longest] =
      GENERATE(table<uint32_t, uint32_t, uint32_t>({{16, 11, 255}, {10, 10, 255}, {9, 9, 127}, {0, 9, 127}}));
  library->tells.striding_rq_caps.max_single_wqe_log_num_of_strides = most;
  (void)device.OpenNic(kLro);
  CHECK(library->work_calls.back().strides.single_stride_log_num_of_bytes == 6);
  CHECK(library->work_calls.back().strides.single_wqe_log_num_of_strides == count);
  CHECK(CommandsOf(library, 0x900).back()[32 + 19] == longest);  // lro_max_msg_sz
  CHECK_THAT(device.Told("LRO").detail,
             Catch::StartsWith("TCP in frames of up to " + std::to_string(longest * 256)));
}

TEST_CASE("a flow waits for the shortest time of the card that is long enough") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  using Periods = std::array<uint32_t, 4>;
  const auto [periods, chosen] = GENERATE(table<Periods, uint32_t>(
      {{{8, 16, 32, 1024}, 32}, {{8, 16, 24, 28}, 28}, {{64, 128, 256, 512}, 64}, {{0, 0, 0, 50}, 50}}));
  library->periods = periods;
  (void)device.OpenNic(kLro);
  CHECK(Read(CommandsOf(library, 0x900).back(), 32 + 16, 4) >> 12 == chosen);
}

// What cannot be.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("a frame that cannot have been joined is dropped and the queue goes on") {
  Mlx5Ports ports(kLro);
  ports.library()->spoil = [](mlx5_cqe64& said) { reinterpret_cast<uint8_t*>(&said)[32] = 200; };  // segments
  ports.Send({UdpFrame({})});                                                                      // no TCP
  ports.Send({TcpFrame({.payload_size = 199})});  // less payload than segments
  ports.Send({ArpFrame({})});
  ports.Send({Cut(TcpFrame({}), 52)});
  ports.Send({TcpFrame({.flags_offset = 1, .payload_size = 400})});  // part of a datagram
  CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kDeviceError) == 5);
  CHECK_FALSE(ports.ToldOfError());
  ports.library()->spoil = nullptr;
  JoinedOf(ports, Stream().Some(5, 500));
}

TEST_CASE("a joined frame longer than its strides costs the queue what it has and it is made ready again") {
  Mlx5Ports ports(kLro);
  ports.library()->spoil = [](mlx5_cqe64& said) {
    reinterpret_cast<uint8_t*>(&said)[32] = 40;
    said.byte_cnt = htobe32(0xffff | 1 << 16);
  };
  ports.Send({TcpFrame({.payload_size = 500})});
  CHECK(ports.Receive().empty());
  CHECK(ports.Drops(DropReason::kDeviceError) == 1);
  CHECK(ports.ToldOfError());
  ports.library()->spoil = nullptr;
  ports.library().Pump();
  JoinedOf(ports, Stream().Some(5, 500));
}

TEST_CASE("a joined frame that takes more packets than a burst has is dropped as too long") {
  Mlx5Library library;
  auto wires = MakeWirePair();
  Mlx5Device device(library.path(), {}, std::move(wires.first));
  SoftContext soft({.name = "soft1"}, std::move(wires.second));
  const auto pool =
      *PacketPool::Create({.packets = 2048, .buffer_size = 1024, .huge_pages = HugePages::kOff});
  VerbsNicOptions options = kLro;
  options.mtu = 500;
  const auto near = device.OpenNic(options);
  const auto far = OpenOn(soft, {.device = "soft1", .mtu = 500});
  for (Nic* nic : {static_cast<Nic*>(near.get()), static_cast<Nic*>(far.get())}) {
    REQUIRE(nic->Start({.rx_ring = 64, .tx_ring = 64, .pool = pool.get()}) == absl::OkStatus());
  }
  library->spoil = [](mlx5_cqe64& said) {
    reinterpret_cast<uint8_t*>(&said)[32] = 40;
    said.byte_cnt = htobe32(60000 | 938 << 16);
  };
  library.Pump();
  Burst burst;
  burst.Push(MakePacket(*pool, TcpFrame({.payload_size = 100})));
  REQUIRE(far->tx(kFirst).Send(burst) == 1);
  for (int i = 0; i < 4; ++i) {
    library.Pump();
    far->tx(kFirst).Reclaim();
  }
  CHECK(near->rx(kFirst).Receive(burst) == 0);
  CHECK(near->drops()[DropReason::kTooLong] == 1);
}

TEST_CASE("frames of a port that does not join are left alone whatever a completion says of LRO") {
  Mlx5Ports ports({.direct_receive = Want::kRequire, .striding = Want::kRequire});
  ports.library()->spoil = [](mlx5_cqe64& said) { reinterpret_cast<uint8_t*>(&said)[32] = 2; };
  CHECK(ports.Through(TcpFrame({}))->coalesced_segments() == 0);
}

// What is said of it, and done without.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("LRO takes direct receive and striding along and is told") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  CHECK(device.Told("LRO").detail ==
        "TCP in frames of up to 65280 bytes and chunks of 131072, within 32 us, from segments of 128 bytes "
        "on; not asked for");
  CHECK(device.Told("LRO", kLro).detail ==
        "TCP in frames of up to 65280 bytes and chunks of 131072, within 32 us, from segments of 128 bytes "
        "on; used");
  CHECK_THAT(device.Told("direct receive", kLro).detail, Catch::EndsWith("; used"));
  const auto nic = device.OpenNic(kLro);
  for (const char* name : {"direct-receive", "striding", "lro"}) CHECK(ModeOf(*nic, name).active);
  CHECK(nic->capabilities().coalescing);
  const auto without = device.OpenNic({.direct_receive = Want::kRequire, .striding = Want::kRequire});
  CHECK_FALSE(ModeOf(*without, "lro").active);
  CHECK(ModeOf(*without, "lro").reason.empty());
  CHECK_FALSE(without->capabilities().coalescing);
}

TEST_CASE("where nothing can be joined LRO tells why and the port does without or is refused") {
  Mlx5Library library;
  VerbsNicOptions options = kLro;
  std::string missing;
  SECTION("no context for DEVX") {
    library->devx_error = EINVAL;
    missing = "mlx5dv_devx_general_cmd: Invalid argument (EINVAL)";
  }
  SECTION("no such ability") {
    library->joins = false;
    missing = "lro_cap is 0";
  }
  SECTION("no time to wait") {
    library->periods = {};
    missing = "lro_timer_supported_periods are 0";
  }
  SECTION("no numbers of queue pairs") {
    library->tells_numbers = false;
    missing = "mlx5dv_init_obj tells no tisn";
  }
  SECTION("no transport domain") {
    library->domain_error = EREMOTEIO;
    missing = "mlx5dv_devx_qp_query: Remote I/O error (EREMOTEIO), status 0, syndrome 0";
  }
  SECTION("the card makes no TIR") {
    library->tir_status = 3;
    missing = "mlx5dv_devx_obj_create: Remote I/O error (EREMOTEIO), status 0x3, syndrome 0x7a2bdb";
  }
  SECTION("no matcher") {
    library->matcher_error = EOPNOTSUPP;
    missing = "mlx5dv_create_flow_matcher: Operation not supported (EOPNOTSUPP)";
  }
  SECTION("no flow") {
    library->flow_error = EPERM;
    missing = "mlx5dv_create_flow: Operation not permitted (EPERM)";
  }
  SECTION("no striding queues") {
    library->tells.striding_rq_caps = {};
    missing = "striding_rq_caps has no raw packets";
  }
  SECTION("frame check sequences") {
    options.keep_fcs = true;
    missing = "frame check sequences are kept";
  }
  Mlx5Device device(library.path());
  const absl::Status refused = device.Open(options).status();
  CHECK(refused.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(refused)->capability == "LRO");
  CHECK(ProblemOf(refused)->what == missing);
  CHECK(ProblemOf(refused)->remedy == "set lro=kPrefer");
  options.lro = Want::kPrefer;
  const auto pool =
      *PacketPool::Create({.packets = 2048, .buffer_size = 4096, .huge_pages = HugePages::kOff});
  const auto nic = device.OpenNic(options);
  CHECK_FALSE(ModeOf(*nic, "lro").active);
  CHECK(ModeOf(*nic, "lro").reason == missing);
  CHECK_FALSE(ModeOf(*nic, "direct-receive").active);  // for nobody asked
  CHECK_FALSE(nic->capabilities().coalescing);
  CHECK(nic->Start({.rx_ring = 64, .tx_ring = 64, .pool = pool.get()}) == absl::OkStatus());
  CHECK(nic->receiver(kFirst).direct() == nullptr);
  CHECK(library->tirs == 0);
}

TEST_CASE("completions in blocks are not had with LRO") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  VerbsNicOptions options = kLro;
  options.compressed_completions = Want::kPrefer;
  const auto nic = device.OpenNic(options);
  CHECK(ModeOf(*nic, "lro").active);
  CHECK(ModeOf(*nic, "compressed-completions").reason == "what LRO joined is told in whole completions");
  CHECK(library->completions_calls.back().fields == MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE);
  options.compressed_completions = Want::kRequire;
  CHECK(ProblemOf(device.Open(options).status())->capability == "compressed completions");
}

TEST_CASE("a TIR that is refused after the trial refuses Start and the next one is well") {
  Mlx5Library library;
  Mlx5Device device(library.path());
  const auto pool = *PacketPool::Create({.packets = 2048, .huge_pages = HugePages::kOff});
  const auto nic = device.OpenNic(kLro);
  const QueueOptions queues = {.rx_ring = 64, .tx_ring = 64, .pool = pool.get()};
  const bool tir = GENERATE(false, true);
  library->tir_status = tir ? 8 : 0;
  library->flow_error = tir ? 0 : ENOMEM;
  const absl::Status refused = nic->Start(queues);
  CHECK(ProblemOf(refused)->capability == "LRO");
  CHECK(ProblemOf(refused)->remedy == "set lro=kOff");
  CHECK(pool->available() == pool->options().packets);
  CHECK(library->tirs == 0);
  CHECK(library->matchers == 0);
  library->tir_status = 0;
  library->flow_error = 0;
  CHECK(nic->Start(queues) == absl::OkStatus());
}

}  // namespace
}  // namespace sluice::testing
