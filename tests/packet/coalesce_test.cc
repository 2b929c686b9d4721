// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/coalesce.h"

#include <catch2/catch.hpp>
#include <functional>

#include "sluice/base/status.h"
#include "sluice/packet/parse.h"
#include "tests/packet/small_pool.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/lender.h"
#include "tests/support/seed.h"
#include "tests/support/simple_coalescer.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr uint32_t kSize = 100;
constexpr uint8_t kAckPsh = TcpHeader::kAck | TcpHeader::kPsh;
const Bytes kTimestamps = {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9};
const FrameSpec kTcp4 = {.ip_id = 65534, .sequence = 0xffffffa0u, .tcp_options = kTimestamps};
const FrameSpec kTcp4Midway = {.ip_id = 300, .sequence = 5000, .tcp_options = kTimestamps};  // nothing wraps
const FrameSpec kTcp6 = {.source = "2001:db8::1", .destination = "2001:db8::2", .tcp_options = kTimestamps};
const FrameSpec kUdp4 = {.ip_id = 7};

using Maker = std::function<Bytes(const FrameSpec&)>;

// The `i`th of a train of segments with `size` bytes of payload, each of which is different.
FrameSpec At(FrameSpec spec, size_t i, size_t size = kSize) {
  spec.ip_id = static_cast<uint16_t>(spec.ip_id + i);
  spec.sequence = static_cast<uint32_t>(spec.sequence + i * size);
  spec.bytes.resize(size);
  for (size_t k = 0; k < size; ++k) spec.bytes[k] = static_cast<uint8_t>(i * 31 + k * k + 1);
  return spec;
}

std::vector<Bytes> Train(const Maker& make, const FrameSpec& spec, size_t n, size_t size = kSize) {
  std::vector<Bytes> frames;
  for (size_t i = 0; i < n; ++i) frames.push_back(make(At(spec, i, size)));
  return frames;
}

// A tunnel around TCP; what is counted outside counts with the segments.
Maker InVxlan(FrameSpec outer, bool ipv6 = false) {
  return [outer, ipv6](const FrameSpec& inner) mutable {
    outer.ip_id = static_cast<uint16_t>(inner.ip_id + 1000);
    FrameSpec inside = inner;
    if (ipv6) inside.source = "2001:db8::9", inside.destination = "2001:db8::a";
    return VxlanFrame(outer, TcpFrame(inside), 42);
  };
}
Maker InGeneve(FrameSpec outer, Maker inside) {
  return [outer, inside](const FrameSpec& inner) mutable {
    outer.ip_id = static_cast<uint16_t>(inner.ip_id + 5);
    return GeneveFrame(outer, inside(inner), {0, 1, 0, 1, 1, 2, 3, 4}, 42);
  };
}

// With one id, which DF allows.
Maker Still(const Maker& make, uint16_t id = 0) {
  return [make, id](FrameSpec spec) {
    spec.ip_id = id;
    spec.flags_offset = Ipv4Header::kDontFragment;
    return make(spec);
  };
}

class Fixture {
 public:
  explicit Fixture(const CoalesceOptions& options = {})
      : pool_(SmallPool({.packets = 2048})), rig_(*pool_, options), packets_(pool_->available()) {}
  ~Fixture() {
    rig_.FlushAll();
    CHECK(rig_->waiting() == 0);
    CHECK(pool_->available() == packets_);
    CHECK(rig_.complaint() == "");
  }

  CoalescerRig& rig() { return rig_; }
  Coalescer& coalescer() { return *rig_; }
  PacketPool& pool() { return *pool_; }
  uint64_t Ends(CoalesceEnd end) { return rig_->stats().of(end); }

  // What comes of `frames` alone.
  std::vector<Coalesced> Joined(const std::vector<Bytes>& frames,
                                ChecksumVerdict verdict = ChecksumVerdict::kUnknown) {
    rig_.Add(frames, 0, verdict);
    rig_.FlushAll();
    return rig_.TakeOutput();
  }

 private:
  const std::unique_ptr<PacketPool> pool_;
  CoalescerRig rig_;
  const size_t packets_;
};

std::vector<Bytes> Undone(const std::vector<Coalesced>& output) {
  std::vector<Bytes> frames;
  for (const Coalesced& one : output) {
    for (const Bytes& frame : one.Undone()) frames.push_back(frame);
  }
  return frames;
}

std::vector<uint16_t> Segments(const std::vector<Coalesced>& output) {
  std::vector<uint16_t> segments;
  for (const Coalesced& one : output) segments.push_back(one.segments);
  return segments;
}

// What can be joined.
// ---------------------------------------------------------------------------------------------------------

struct Kind {
  const char* name;
  Maker make;
  FrameSpec spec;
};

std::vector<Kind> Kinds() {
  FrameSpec v6_outer = {.source = "fd00::1", .destination = "fd00::2", .zero_udp_checksum = true};
  FrameSpec tagged = kTcp4;
  tagged.vlans = {7, 8};
  FrameSpec options = kTcp4;
  options.ip_options = {148, 4, 0, 0};
  FrameSpec absent = kUdp4;
  absent.zero_udp_checksum = true;
  const FrameSpec unsummed_outer = {.zero_udp_checksum = true};
  const FrameSpec udp6 = {.source = "::1", .destination = "::2"};
  const Maker vxlan_udp = [](const FrameSpec& inner) {
    return VxlanFrame({.ip_id = inner.ip_id}, UdpFrame(inner), 3);
  };
  const Maker still_inside = [](const FrameSpec& inner) {
    return VxlanFrame({.ip_id = inner.ip_id, .zero_udp_checksum = true}, Still(TcpFrame, 77)(inner));
  };
  const Maker still_outside = [](const FrameSpec& inner) {
    const FrameSpec outer = {.flags_offset = Ipv4Header::kDontFragment, .zero_udp_checksum = true};
    return VxlanFrame(outer, TcpFrame(inner));
  };
  const Maker still_in_both = Still(still_outside, 3);
  const Maker still_in_v6 = [v6_outer](const FrameSpec& inner) {
    return VxlanFrame(v6_outer, Still(TcpFrame)(inner));
  };
  return {
      {"TCP over IPv4", TcpFrame, kTcp4},
      {"TCP over IPv4, nothing wraps", TcpFrame, kTcp4Midway},
      {"TCP over IPv6", TcpFrame, kTcp6},
      {"TCP with two tags", TcpFrame, tagged},
      {"TCP with IPv4 options", TcpFrame, options},
      {"TCP, ids stay zero", Still(TcpFrame), kTcp4},
      {"TCP, ids stay", Still(TcpFrame, 0xffff), kTcp4Midway},
      {"UDP, ids stay", Still(UdpFrame, 9), kUdp4},
      {"VXLAN, ids stay inside", still_inside, kTcp4Midway},
      {"VXLAN, ids stay outside", still_outside, kTcp4Midway},
      {"VXLAN, ids stay in both", still_in_both, kTcp4},
      {"VXLAN over IPv6, ids stay inside", still_in_v6, kTcp4},
      {"UDP over IPv4", UdpFrame, kUdp4},
      {"UDP over IPv6", UdpFrame, udp6},
      {"UDP without checksum", UdpFrame, absent},
      {"VXLAN, outer checksum", InVxlan({}), kTcp4},
      {"VXLAN, no outer checksum", InVxlan(unsummed_outer), kTcp4},
      {"VXLAN, nothing wraps", InVxlan(unsummed_outer), kTcp4Midway},
      {"VXLAN over IPv6, IPv6 inside", InVxlan(v6_outer, true), kTcp4},
      {"VXLAN with UDP", vxlan_udp, kUdp4},
      {"Geneve with an option", InGeneve({}, TcpFrame), kTcp6},
      {"Geneve without Ethernet inside",
       [](const FrameSpec& inner) {
         return GeneveFrame({.ip_id = inner.ip_id}, WithoutEthernet(TcpFrame(inner)), {}, 1,
                            Ethertype::kIpv4);
       },
       kTcp4},
  };
}

TEST_CASE("segments become one packet, which is right in itself and cut back to what went in") {
  for (const Kind& kind : Kinds()) {
    for (const size_t size : {1u, 99u, 100u, 1448u}) {
      INFO(kind.name << ", " << size);
      Fixture f;
      std::vector<Bytes> frames = Train(kind.make, kind.spec, 5, size);
      const std::vector<Coalesced> output = f.Joined(frames);
      REQUIRE(Segments(output) == std::vector<uint16_t>{5});
      CHECK(output[0].size == size);
      CHECK(output[0].bytes == JoinFrames(frames));
      CHECK(output[0].Undone() == frames);
    }
  }
}

TEST_CASE("a shorter segment is the last, and ends the packet at once") {
  for (const Kind& kind : Kinds()) {
    INFO(kind.name);
    Fixture f;
    std::vector<Bytes> frames = Train(kind.make, kind.spec, 3);
    FrameSpec last = At(kind.spec, 3);
    last.bytes.resize(33);
    frames.push_back(kind.make(last));
    f.rig().Add(frames);
    const std::vector<Coalesced> output = f.rig().TakeOutput();
    CHECK(Segments(output) == std::vector<uint16_t>{4});
    CHECK(Undone(output) == frames);
    CHECK(f.Ends(CoalesceEnd::kLast) == 1);
  }
}

TEST_CASE("PSH and FIN end a packet at once, and show on it") {
  for (const uint8_t flag : {TcpHeader::kPsh, TcpHeader::kFin}) {
    Fixture f;
    std::vector<Bytes> frames = Train(TcpFrame, kTcp4, 3);
    FrameSpec last = At(kTcp4, 3);
    last.tcp_flags |= flag;
    frames.push_back(TcpFrame(last));
    f.rig().Add(frames);
    const std::vector<Coalesced> output = f.rig().TakeOutput();
    REQUIRE(Segments(output) == std::vector<uint16_t>{4});
    CHECK(output[0].bytes[14 + 20 + 13] == (TcpHeader::kAck | flag));
    CHECK(Undone(output) == frames);
  }
}

TEST_CASE("CWR starts a packet, and a segment with it joins none") {
  Fixture f;
  std::vector<Bytes> frames = Train(TcpFrame, kTcp4, 4);
  for (const size_t i : {0u, 2u}) {
    FrameSpec reduced = At(kTcp4, i);
    reduced.tcp_flags |= TcpHeader::kCwr;
    frames[i] = TcpFrame(reduced);
  }
  const std::vector<Coalesced> output = f.Joined(frames);
  CHECK(Segments(output) == std::vector<uint16_t>{2, 2});
  CHECK(Undone(output) == frames);
}

TEST_CASE("segments whose headers are laid out differently, in turns, are joined as each kind alone") {
  Fixture f;
  const std::vector<Kind> kinds = Kinds();
  std::vector<std::vector<Bytes>> trains;
  std::vector<Bytes> frames;
  for (const Kind& kind : kinds) {
    FrameSpec spec = kind.spec;
    spec.source_port = static_cast<uint16_t>(1000 + trains.size());
    trains.push_back(Train(kind.make, spec, 5));
  }
  for (size_t i = 0; i < 5; ++i) {
    for (const std::vector<Bytes>& train : trains) frames.push_back(train[i]);
  }
  const std::vector<Coalesced> output = f.Joined(frames);
  REQUIRE(output.size() == kinds.size());
  for (size_t i = 0; i < kinds.size(); ++i) {
    INFO(kinds[i].name);
    CHECK(output[i].Undone() == trains[i]);
  }
}

// What cannot.
// ---------------------------------------------------------------------------------------------------------

struct Odd {
  const char* sentence;
  std::function<void(FrameSpec&)> change;
  CoalesceEnd end;
  std::vector<uint16_t> segments;  // of trains of two, the odd one, and two more
};

// Five segments, of which the third is odd.
std::vector<Bytes> TrainWith(const Maker& make, const FrameSpec& spec, const Odd& odd) {
  std::vector<Bytes> frames = Train(make, spec, 5);
  FrameSpec changed = At(spec, 2);
  odd.change(changed);
  frames[2] = make(changed);
  return frames;
}

void CheckAll(const Maker& make, const FrameSpec& spec, const std::vector<Odd>& cases) {
  for (const Odd& odd : cases) {
    INFO(odd.sentence);
    Fixture f;
    const std::vector<Bytes> frames = TrainWith(make, spec, odd);
    const std::vector<Coalesced> output = f.Joined(frames);
    CHECK(Segments(output) == odd.segments);
    CHECK(Undone(output) == frames);
    CHECK(f.Ends(odd.end) >= 1);
  }
}

TEST_CASE("a segment whose headers differ starts another packet") {
  const std::vector<uint16_t> alone = {2, 0, 2};
  CheckAll(
      TcpFrame, kTcp4,
      {
          {"TTL", [](FrameSpec& s) { s.ttl = 63; }, CoalesceEnd::kDifference, alone},
          {"TOS", [](FrameSpec& s) { s.dscp_ecn = 0x28; }, CoalesceEnd::kDifference, alone},
          {"ECN", [](FrameSpec& s) { s.dscp_ecn = 3; }, CoalesceEnd::kDifference, alone},
          {"DF", [](FrameSpec& s) { s.flags_offset = Ipv4Header::kDontFragment; }, CoalesceEnd::kDifference,
           alone},
          {"acknowledgment", [](FrameSpec& s) { s.acknowledgment = 9; }, CoalesceEnd::kDifference, alone},
          {"timestamp", [](FrameSpec& s) { s.tcp_options[7] = 6; }, CoalesceEnd::kDifference, alone},
          {"other options", [](FrameSpec& s) { s.tcp_options = {}; }, CoalesceEnd::kDifference, alone},
          {"ECE", [](FrameSpec& s) { s.tcp_flags |= TcpHeader::kEce; }, CoalesceEnd::kDifference, alone},
          {"VLAN", [](FrameSpec& s) { s.vlans = {5}; }, CoalesceEnd::kDifference, alone},
          {"MAC", [](FrameSpec& s) { s.source_mac = "02:00:00:00:00:09"; }, CoalesceEnd::kDifference, alone},
          {"larger", [](FrameSpec& s) { s.bytes.resize(kSize + 1); }, CoalesceEnd::kDifference, {2, 0, 2}},
      });
}

TEST_CASE("a segment that does not follow starts another packet") {
  const std::vector<uint16_t> alone = {2, 0, 2};
  CheckAll(TcpFrame, kTcp4,
           {
               {"a hole", [](FrameSpec& s) { s.sequence += 1; }, CoalesceEnd::kOrder, alone},
               {"sent again", [](FrameSpec& s) { s.sequence -= kSize; }, CoalesceEnd::kOrder, alone},
               {"id jumps", [](FrameSpec& s) { s.ip_id += 7; }, CoalesceEnd::kOrder, alone},
               {"id stands still", [](FrameSpec& s) { s.ip_id -= 1; }, CoalesceEnd::kOrder, {2, 0, 2}},
           });
}

TEST_CASE("ids stay or count, as the second segment decides, and stay only with DF") {
  struct Case {
    std::vector<uint16_t> ids;
    bool dont_fragment;
    std::vector<uint16_t> segments;
  };
  for (const Case& c :
       {Case{{5, 5, 5, 5}, true, {4}}, Case{{0, 0, 0}, true, {3}}, Case{{0, 1, 2}, true, {3}},
        Case{{65535, 65535, 65535}, true, {3}}, Case{{65535, 0, 1}, true, {3}},
        Case{{5, 5, 6, 6}, true, {2, 2}}, Case{{5, 6, 6, 7}, true, {2, 2}}, Case{{5, 5, 7, 8}, true, {2, 2}},
        Case{{0, 0, 1, 2}, true, {2, 2}}, Case{{5, 4}, true, {0, 0}}, Case{{5, 5}, false, {0, 0}},
        Case{{0, 0}, false, {0, 0}}}) {
    Fixture f;
    std::vector<Bytes> frames;
    for (size_t i = 0; i < c.ids.size(); ++i) {
      FrameSpec spec = At(kTcp4Midway, i);
      spec.ip_id = c.ids[i];
      spec.flags_offset = c.dont_fragment ? Ipv4Header::kDontFragment : uint16_t{0};
      frames.push_back(TcpFrame(spec));
    }
    INFO(c.ids[0] << ", " << c.ids[1] << ", ... " << c.dont_fragment);
    const std::vector<Coalesced> output = f.Joined(frames);
    CHECK(Segments(output) == c.segments);
    CHECK(Undone(output) == frames);
  }
}

TEST_CASE("what is never joined follows what its flow holds, and holds nothing up") {
  const std::vector<uint16_t> alone = {2, 0, 2};
  CheckAll(TcpFrame, kTcp4,
           {
               {"no data", [](FrameSpec& s) { s.bytes = {}, s.payload = ""; }, CoalesceEnd::kOther, alone},
               {"SYN", [](FrameSpec& s) { s.tcp_flags |= TcpHeader::kSyn; }, CoalesceEnd::kOther, alone},
               {"RST", [](FrameSpec& s) { s.tcp_flags |= TcpHeader::kRst; }, CoalesceEnd::kOther, alone},
               {"URG", [](FrameSpec& s) { s.tcp_flags |= TcpHeader::kUrg; }, CoalesceEnd::kOther, alone},
           });
}

TEST_CASE("a packet with a bad checksum, or padding, passes alone and in its place") {
  struct Case {
    const char* sentence;
    std::function<void(Bytes&)> spoil;
    bool padded;
  };
  for (const Case& c : {Case{"L4", [](Bytes& b) { b.back() ^= 1; }, false},
                        Case{"IPv4", [](Bytes& b) { b[14 + 10] ^= 1; }, false},
                        Case{"padded", [](Bytes& b) { b.push_back(0); }, true}}) {
    INFO(c.sentence);
    Fixture f;
    std::vector<Bytes> frames = Train(TcpFrame, kTcp4, 5);
    c.spoil(frames[2]);
    const std::vector<Coalesced> output = f.Joined(frames);
    CHECK(Segments(output) == std::vector<uint16_t>{2, 0, 2});
    CHECK(Undone(output) == frames);
  }
}

TEST_CASE("a verdict of a device is believed, so that the payload need not be read") {
  Fixture f;
  std::vector<Bytes> frames = Train(TcpFrame, kTcp4, 3);
  frames[1].back() ^= 1;
  f.rig().Add(frames, 0, ChecksumVerdict::kBad);
  CHECK(Segments(f.rig().TakeOutput()) == std::vector<uint16_t>{0, 0, 0});
  f.rig().Add(frames, 0, ChecksumVerdict::kPartial);
  CHECK(Segments(f.rig().TakeOutput()) == std::vector<uint16_t>{0, 0, 0});

  auto pool = SmallPool();
  auto coalescer = Coalescer::Create({}).value();
  Burst in;
  for (const Bytes& frame : frames) {
    in.Push(MakePacket(*pool, frame));
    Parse(in[in.size() - 1]);
    in[in.size() - 1].l4_checksum = ChecksumVerdict::kGood;
  }
  Burst out;
  coalescer->Add(in, 0, out);
  CHECK(coalescer->FlushAll(out) == 1);
  CHECK(out[0].coalesced_segments() == 3);
}

TEST_CASE("a checksum that adds up but that no sender computes is left as it is") {
  Fixture f;
  std::vector<Bytes> frames = Train(UdpFrame, kUdp4, 3);
  // A TCP checksum of zero may be written as 0xffff and verifies still; no segmenter would.
  FrameSpec zero = At(kTcp4, 1);
  for (uint16_t k = 0; k != 0xffff; ++k) {
    zero.bytes[0] = static_cast<uint8_t>(k >> 8), zero.bytes[1] = static_cast<uint8_t>(k);
    if (HeaderAt<TcpHeader>(TcpFrame(zero).data(), 34)->checksum == Be16()) break;
  }
  Bytes minus_zero = TcpFrame(zero);
  REQUIRE(HeaderAt<TcpHeader>(minus_zero.data(), 34)->checksum == Be16());
  CHECK(Segments(f.Joined({TcpFrame(At(kTcp4, 0)), minus_zero})) == std::vector<uint16_t>{2});
  HeaderAt<TcpHeader>(minus_zero.data(), 34)->checksum = uint16_t{0xffff};
  CHECK(Segments(f.Joined({TcpFrame(At(kTcp4, 0)), minus_zero})) == std::vector<uint16_t>{0, 0});
}

TEST_CASE("UDP with and without a checksum is not joined to one another") {
  Fixture f;
  FrameSpec absent = kUdp4;
  absent.zero_udp_checksum = true;
  CHECK(Segments(f.Joined({UdpFrame(At(kUdp4, 0)), UdpFrame(At(absent, 1))})) == std::vector<uint16_t>{0, 0});
}

TEST_CASE("what is of no flow passes at once") {
  Fixture f;
  const FrameSpec v6 = {.source = "::1", .destination = "::2"};
  f.rig().Add({ArpFrame({}), IcmpFrame({}), IcmpFrame(v6),
               UdpFrame({.flags_offset = Ipv4Header::kMoreFragments}),
               GreFrame({}, WithoutEthernet(TcpFrame({}))), VxlanFrame({}, ArpFrame({})), Bytes(14), Bytes(3),
               VxlanFrame({}, Cut(TcpFrame({}), 40))});
  CHECK(f.rig().TakeOutput().size() == 9);
  CHECK(f.coalescer().waiting() == 0);
}

TEST_CASE("headers with IPv6 extensions, or longer than the bound, are left alone") {
  Fixture f;
  FrameSpec extended = kTcp6;
  extended.extensions = {{IpProtocol::kDestinationOptions, {0, 0, 1, 4, 0, 0, 0, 0}}};
  CHECK(Segments(f.Joined(Train(TcpFrame, extended, 2))) == std::vector<uint16_t>{0, 0});
  const Maker geneve = [](const FrameSpec& inner) {
    Bytes options(92);
    options[3] = 22;
    return GeneveFrame({.ip_id = inner.ip_id}, TcpFrame(inner), options);
  };
  CHECK(Segments(f.Joined(Train(geneve, kTcp4, 2))) == std::vector<uint16_t>{0, 0});
}

TEST_CASE("with TCP or UDP off it passes") {
  Fixture tcp({.tcp = false});
  CHECK(Segments(tcp.Joined(Train(TcpFrame, kTcp4, 2))) == std::vector<uint16_t>{0, 0});
  CHECK(Segments(tcp.Joined(Train(UdpFrame, kUdp4, 2))) == std::vector<uint16_t>{2});
  Fixture udp({.udp = false});
  CHECK(Segments(udp.Joined(Train(TcpFrame, kTcp4, 2))) == std::vector<uint16_t>{2});
  CHECK(Segments(udp.Joined(Train(UdpFrame, kUdp4, 2))) == std::vector<uint16_t>{0, 0});
}

// Packets, beyond their bytes.
// ---------------------------------------------------------------------------------------------------------

PacketPtr SegmentOf(Fixture& f, size_t i, size_t piece = 0) {
  return MakePacket(f.pool(), TcpFrame(At(kTcp4, i)), piece);
}

TEST_CASE("what is known of a packet keeps it apart too") {
  struct Case {
    const char* sentence;
    std::function<void(Packet&)> change;
    bool alone;  // it waits for none either
  };
  for (const Case& c : {Case{"port", [](Packet& p) { p.ingress_port = PortId(3); }, false},
                        Case{"mark", [](Packet& p) { p.set_mark(4); }, false},
                        Case{"tag", [](Packet& p) { p.vlan_stripped = true, p.vlan_tci = 5; }, false},
                        Case{"request", [](Packet& p) { p.offload.l3_checksum = true; }, true},
                        Case{"joined before", [](Packet& p) { p.set_coalesced(2, 50); }, true},
                        Case{"l3 verdict", [](Packet& p) { p.l3_checksum = ChecksumVerdict::kBad; }, true}}) {
    INFO(c.sentence);
    Fixture f;
    f.rig().Add(SegmentOf(f, 0));
    PacketPtr odd = SegmentOf(f, 1);
    c.change(*odd);
    f.rig().Add(std::move(odd));
    CHECK(f.rig().TakeOutput().size() == (c.alone ? 2 : 1));
  }
}

TEST_CASE("segments of several pieces are joined whole, and no piece is empty") {
  for (const size_t piece : {66u, 70u, 100u, 130u}) {
    Fixture f;
    auto coalescer = Coalescer::Create({}).value();
    Burst in;
    for (size_t i = 0; i < 3; ++i) {
      in.Push(SegmentOf(f, i, piece));
      Parse(in[i]);
    }
    Burst out;
    coalescer->Add(in, 0, out);
    REQUIRE(coalescer->FlushAll(out) == 1);
    CHECK(BytesOf(out[0]) == JoinFrames(Train(TcpFrame, kTcp4, 3)));
    for (const Packet* p = &out[0]; p != nullptr; p = p->next()) CHECK(p->head_length() != 0);
  }
}

TEST_CASE("borrowed memory is not held: such a packet passes at once, after its flow") {
  for (const bool in_fragment : {false, true}) {
    Fixture f;
    CountingLender lender;
    Bytes lent = TcpFrame(At(kTcp4, 1));
    f.rig().Add(SegmentOf(f, 0));
    PacketPtr borrower = f.pool().GetOne();
    if (in_fragment) {
      borrower = lender.Lend(f.pool(), lent, 66);
    } else {
      borrower->BorrowBytes(lent.data(), static_cast<uint32_t>(lent.size()), lender, 0);
    }
    f.rig().Add(std::move(borrower));
    CHECK(lender.returned == 1);
    CHECK(Undone(f.rig().TakeOutput()) == Train(TcpFrame, kTcp4, 2));
  }
}

TEST_CASE("headers that end where their buffer ends are compared without reading on") {
  auto pool = SmallPool({.packets = 64, .buffer_size = 256, .headroom = 0});
  auto coalescer = Coalescer::Create({}).value();
  Burst in;
  for (size_t i = 0; i < 3; ++i) {
    const Bytes frame = TcpFrame(At(kTcp4, i));
    PacketPtr packet = pool->GetOne();
    packet->SetHeadroom(256 - 66);
    std::copy_n(frame.begin(), 66, packet->data());
    packet->SetLength(66);
    packet->Append(MakePacket(*pool, absl::MakeConstSpan(frame).subspan(66)));
    Parse(*packet);
    in.Push(std::move(packet));
  }
  Burst out;
  coalescer->Add(in, 0, out);
  REQUIRE(coalescer->FlushAll(out) == 1);
  CHECK(out[0].coalesced_segments() == 3);
}

// Bounds, time and order.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("a packet that can take no more goes out at once, full by bytes or by segments") {
  Fixture bytes({.max_bytes = 66 + 3 * kSize + 99});
  bytes.rig().Add(Train(TcpFrame, kTcp4, 7));
  CHECK(Segments(bytes.rig().TakeOutput()) == std::vector<uint16_t>{3, 3});
  CHECK(bytes.Ends(CoalesceEnd::kFull) == 2);

  Fixture segments({.max_segments = 2});
  segments.rig().Add(Train(TcpFrame, kTcp4, 5));
  CHECK(Segments(segments.rig().TakeOutput()) == std::vector<uint16_t>{2, 2});
}

TEST_CASE("64 KiB is the most that length fields can tell, and is reached") {
  Fixture f({.max_segments = 1024});
  f.rig().Add(Train(TcpFrame, kTcp4, 50, 1448));
  const std::vector<Coalesced> output = f.rig().TakeOutput();
  CHECK(Segments(output) == std::vector<uint16_t>{45});
  CHECK(output[0].bytes.size() == 66 + 45 * 1448);
}

TEST_CASE("time releases the oldest first, once they are old enough") {
  Fixture f({.max_age = absl::Nanoseconds(10)});
  CHECK(f.coalescer().next_flush() == 0);
  for (uint16_t i = 0; i < 3; ++i) {
    FrameSpec spec = At(kTcp4, 0);
    spec.source_port = i;
    f.rig().Add({TcpFrame(spec)}, 100 + i);
  }
  CHECK(f.coalescer().next_flush() == 110);
  f.rig().Flush(109);
  CHECK(f.rig().TakeOutput().empty());
  f.rig().Flush(111);
  const std::vector<Coalesced> two = f.rig().TakeOutput();
  REQUIRE(two.size() == 2);
  CHECK(HeaderAt<TcpHeader>(two[0].bytes.data(), 34)->source_port == uint16_t{0});
  CHECK(f.coalescer().next_flush() == 112);
  CHECK(f.Ends(CoalesceEnd::kAge) == 2);
}

TEST_CASE("a segment that joins does not make its packet younger") {
  Fixture f({.max_age = absl::Nanoseconds(10)});
  for (size_t i = 0; i < 3; ++i) f.rig().Add({TcpFrame(At(kTcp4, i))}, 4 * i);
  f.rig().Flush(10);
  CHECK(Segments(f.rig().TakeOutput()) == std::vector<uint16_t>{3});
}

TEST_CASE("when all places are taken the oldest flow makes room") {
  Fixture f({.flows = 4});
  for (uint16_t i = 0; i < 6; ++i) {
    FrameSpec spec = At(kTcp4, 0);
    spec.destination_port = i;
    f.rig().Add({TcpFrame(spec)});
    CHECK(f.coalescer().waiting() == std::min<size_t>(i + 1u, 4));
  }
  const std::vector<Coalesced> evicted = f.rig().TakeOutput();
  REQUIRE(evicted.size() == 2);
  CHECK(HeaderAt<TcpHeader>(evicted[1].bytes.data(), 34)->destination_port == uint16_t{1});
  CHECK(f.Ends(CoalesceEnd::kEvicted) == 2);
}

TEST_CASE("flows of different tenants do not meet, whatever their addresses") {
  Fixture f;
  std::vector<Bytes> frames;
  for (size_t i = 0; i < 3; ++i) {
    const FrameSpec outer = {.ip_id = static_cast<uint16_t>(i)};
    for (const uint32_t vni : {1u, 2u}) frames.push_back(VxlanFrame(outer, TcpFrame(At(kTcp4, i)), vni));
  }
  CHECK(Segments(f.Joined(frames)) == std::vector<uint16_t>{3, 3});
}

TEST_CASE("what does not fit the burst stays behind, in order, with the caller or inside") {
  auto pool = SmallPool({.packets = 512});
  auto coalescer = Coalescer::Create({}).value();
  Burst in;
  Burst out;
  for (uint16_t i = 0; i < 64; ++i) {
    FrameSpec spec = At(kTcp4, 0);
    spec.source_port = i;
    in.Push(MakePacket(*pool, TcpFrame(spec)));
    Parse(in[i]);
  }
  coalescer->Add(in, 0, out);
  CHECK(coalescer->waiting() == 64);
  for (uint16_t i = 0; i < 64; ++i) {
    FrameSpec spec = At(kTcp4, 0);
    spec.source_port = i;
    spec.tcp_flags |= TcpHeader::kRst;
    in.Push(MakePacket(*pool, TcpFrame(spec)));
    Parse(in[i]);
  }
  coalescer->Add(in, 0, out);
  CHECK(in.size() == 32);
  CHECK(out.size() == 64);
  coalescer->Add(in, 0, out);
  CHECK(in.size() == 32);
  CHECK(coalescer->FlushAll(out) == 0);
  out.Clear();
  coalescer->Add(in, 0, out);
  CHECK(in.empty());
  CHECK(out.size() == 64);
}

TEST_CASE("a coalescer gives what it holds back to the pools when it ends") {
  auto pool = SmallPool();
  {
    CoalescerRig rig(*pool, {});
    rig.Add(Train(TcpFrame, kTcp4, 3));
    CHECK(rig->waiting() == 1);
  }
  CHECK(pool->available() == 256);
}

TEST_CASE("nothing is allocated once a coalescer is made") {
  auto pool = SmallPool({.packets = 512});
  auto coalescer = Coalescer::Create({.flows = 8}).value();
  std::vector<PacketPtr> packets;
  for (uint16_t i = 0; i < 256; ++i) {
    FrameSpec spec = At(kTcp4, i / 32);
    spec.source_port = i % 32;
    packets.push_back(MakePacket(*pool, TcpFrame(spec)));
    Parse(*packets.back());
  }
  Burst in;
  Burst out;
  const AllocationCounter counter;
  for (PacketPtr& packet : packets) {
    in.Push(std::move(packet));
    coalescer->Add(in, 0, out);
    out.Clear();
  }
  coalescer->FlushAll(out);
  CHECK(counter.allocations() == 0);
}

TEST_CASE("a coalescer out of bounds is refused with what to do") {
  for (const CoalesceOptions& options :
       {CoalesceOptions{.flows = 0}, CoalesceOptions{.flows = 65537}, CoalesceOptions{.max_bytes = 0},
        CoalesceOptions{.max_bytes = 65536}, CoalesceOptions{.max_segments = 1},
        CoalesceOptions{.max_segments = 1025}, CoalesceOptions{.max_age = absl::Nanoseconds(-1)},
        CoalesceOptions{.max_age = absl::InfiniteDuration()}}) {
    const absl::Status status = Coalescer::Create(options).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(ProblemOf(status)->remedy.empty());
  }
}

// Against the twin.
// ---------------------------------------------------------------------------------------------------------

// A flow that sends, and what goes wrong with it.
class RandomFlow {
 public:
  RandomFlow(const Kind& kind, uint16_t port, Random& random)
      : make_(kind.make), spec_(kind.spec), size_(1 + Below(random, 80)) {
    spec_.source_port = port;
    if (Below(random, 2) == 0) spec_.flags_offset = Ipv4Header::kDontFragment;
  }

  Bytes Next(Random& random) {
    FrameSpec now = At(spec_, 0, size_);
    for (uint8_t& byte : now.bytes) byte = static_cast<uint8_t>(random());
    spec_ = At(spec_, 1, size_);
    if (Below(random, 10) == 0) id_stays_ = !id_stays_;
    if (id_stays_) --spec_.ip_id;
    if (Below(random, 4) == 0) Disturb(now, random);
    Bytes frame = make_(now);
    if (Below(random, 40) == 0)
      frame[Below(random, frame.size())] ^= static_cast<uint8_t>(1u << Below(random, 8));
    if (Below(random, 60) == 0) frame.resize(frame.size() + Below(random, 4));
    return frame;
  }

 private:
  void Disturb(FrameSpec& now, Random& random) {
    switch (Below(random, 12)) {
      case 0:
        now.tcp_flags |= static_cast<uint8_t>(1u << Below(random, 8));
        break;
      case 1:
        now.tcp_flags = kAckPsh;
        break;
      case 2:
        now.ttl = 3;
        break;
      case 3:
        now.dscp_ecn = 1;
        break;
      case 4:
        now.acknowledgment = 1;
        break;
      case 5:
        now.ip_id = static_cast<uint16_t>(now.ip_id + Below(random, 3));
        break;
      case 6:
        now.bytes.resize(Below(random, 90));
        break;
      case 7:
        now.bytes = {}, now.payload = "";
        break;
      case 8:
        now.sequence += static_cast<uint32_t>(Below(random, 100));
        break;
      case 9:
        spec_ = At(spec_, 1, size_);
        break;  // the next is lost
      case 10:
        spec_.sequence -= static_cast<uint32_t>(size_);
        break;  // and comes again
      default:
        size_ = 1 + Below(random, 80);
    }
  }

  Maker make_;
  FrameSpec spec_;
  size_t size_;
  bool id_stays_ = false;
};

TEST_CASE("whatever comes, in whatever order, the twin makes the same of it") {
  Random random(PrintedSeed());
  const std::vector<Kind> kinds = Kinds();
  uint64_t joined = 0;
  for (int round = 0; round < 25; ++round) {
    const CoalesceOptions options = {.flows = 1 + static_cast<uint32_t>(Below(random, 12)),
                                     .max_bytes = 200 + static_cast<uint32_t>(Below(random, 800)),
                                     .max_segments = static_cast<uint16_t>(2 + Below(random, 12)),
                                     .max_age = absl::Nanoseconds(Below(random, 50)),
                                     .hash_seed = random()};
    Fixture f(options);
    SimpleCoalescer twin(options);
    std::vector<RandomFlow> flows;
    for (uint16_t i = 0; i < 10; ++i) flows.emplace_back(kinds[Below(random, kinds.size())], i % 5, random);
    std::vector<Bytes> delayed;
    for (Nanoseconds now = 0; now < 150; ++now) {
      Bytes frame = flows[Below(random, 1 + Below(random, flows.size()))].Next(random);
      if (Below(random, 20) == 0) std::swap(frame, delayed.emplace_back(frame)), delayed.resize(1);
      if (!delayed.empty() && Below(random, 4) == 0) std::swap(frame, delayed[0]);
      f.rig().Add({frame}, now);
      twin.Add(frame, now);
      if (Below(random, 8) == 0) f.rig().Flush(now), twin.Flush(now);
    }
    f.rig().FlushAll();
    twin.FlushAll();
    CHECK(f.rig().TakeOutput() == twin.TakeOutput());
    joined += f.coalescer().stats().joined;
  }
  CHECK(joined > 250);
}

TEST_CASE("each flow's frames come out as they went in, of however many flows at once") {
  Random random(PrintedSeed());
  Fixture f({.flows = 64});
  std::vector<std::vector<Bytes>> sent(200);
  std::vector<std::vector<Bytes>> received(200);
  std::vector<Bytes> burst;
  for (int i = 0; i < 3000; ++i) {
    const size_t flow = Below(random, sent.size());
    FrameSpec spec = At(kTcp4, sent[flow].size(), 20);
    spec.source_port = static_cast<uint16_t>(flow);
    burst.push_back(sent[flow].emplace_back(TcpFrame(spec)));
    if (Below(random, 40) != 0 && i + 1 != 3000) continue;
    f.rig().Add(burst, 0, Below(random, 2) == 0 ? ChecksumVerdict::kGood : ChecksumVerdict::kUnknown);
    burst.clear();
  }
  f.rig().FlushAll();
  for (const Bytes& frame : Undone(f.rig().TakeOutput())) {
    received[HeaderAt<TcpHeader>(frame.data(), 34)->source_port.get()].push_back(frame);
  }
  CHECK(received == sent);
  const CoalesceStats stats = f.coalescer().stats();
  CHECK(stats.packets == 3000);
  CHECK(stats.joined > 500);
}

}  // namespace
}  // namespace sluice
