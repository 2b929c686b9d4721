// SPDX-License-Identifier: Apache-2.0
// What the software verbs device does to frames, and what it tells of them: checksums, segments, tags, spreading, and
// the fields of extended completion queues.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "sluice/packet/rss.h"
#include "tests/nic/soft_nic.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::ExtendedPair;
using testing::FlowSpec;
using testing::RawPair;
using testing::Refusal;
using testing::SoftCable;
using testing::SoftNic;
using testing::TcpFrame;
using testing::UdpFrame;

const FlowSpec kEverything(IBV_FLOW_ATTR_ALL_DEFAULT);

struct Line {
  Line() : sender(cable.left), receiver(cable.right) {
    receiver.Steer(kEverything);
    for (size_t i = 0; i < 32; ++i) REQUIRE(receiver.PostReceive(i) == 0);
  }
  SoftCable cable;
  RawPair sender, receiver;
};

TEST_CASE("checksums that a send asks for are filled in, and the receiver is told that they are right") {
  Line line;
  const Bytes right = GENERATE(UdpFrame({.payload_size = 99}), TcpFrame({.payload_size = 1000}));
  Bytes wrong = right;
  const bool tcp = wrong[23] == 6;
  wrong[24] = wrong[25] = 0x55;                                    // of IPv4
  wrong[34 + (tcp ? 16 : 6)] = wrong[35 + (tcp ? 16 : 6)] = 0x55;  // of L4
  line.sender.Send(wrong, IBV_SEND_IP_CSUM);
  line.sender.Send(wrong);
  const std::vector<ibv_wc> done = line.receiver.Poll();
  REQUIRE(done.size() == 2);
  CHECK(std::equal(right.begin(), right.end(), line.receiver.slot(0)));
  CHECK((done[0].wc_flags & IBV_WC_IP_CSUM_OK) != 0);
  CHECK(std::equal(wrong.begin(), wrong.end(), line.receiver.slot(1)));
  CHECK((done[1].wc_flags & IBV_WC_IP_CSUM_OK) == 0);
}

TEST_CASE("each frame of a burst is told by itself whether its checksums are right") {
  Line line;
  Bytes wrong = UdpFrame({}), contradictory = UdpFrame({});
  wrong.back() ^= 1;
  contradictory[17] = 255;  // the length in IPv4, of more than there is
  const Bytes right = UdpFrame({}), tagged = TcpFrame({.vlans = {5}});
  const Bytes none = UdpFrame({.zero_udp_checksum = true});
  const Bytes ipv6 = UdpFrame({.source = "2001:db8::1", .destination = "2001:db8::2"});
  // A few alike in front: what is looked into together must not be taken for what is not like it.
  const std::vector<std::pair<Bytes, bool>> burst = {
      {right, true}, {right, true}, {right, true},          {right, true},  {right, true}, {wrong, false},
      {right, true}, {none, false}, {contradictory, false}, {tagged, true}, {ipv6, false}, {right, true}};
  for (const auto& [frame, good] : burst) REQUIRE(line.sender.Send(frame) == 0);
  const std::vector<ibv_wc> done = line.receiver.Poll();
  REQUIRE(done.size() == burst.size());
  for (size_t i = 0; i < burst.size(); ++i) {
    INFO("frame " << i);
    CHECK(((done[i].wc_flags & IBV_WC_IP_CSUM_OK) != 0) == burst[i].second);
  }
}

TEST_CASE("hardware that fills in no checksums refuses to be asked, and says nothing of those that arrive") {
  SoftCable cable({.hardware = SoftwareVerbsHardware::Poor()}, {.hardware = SoftwareVerbsHardware::Poor()});
  RawPair sender(cable.left, {.requests = 8, .pieces = 1, .inline_bytes = 0});
  RawPair receiver(cable.right, {.requests = 8, .pieces = 1, .inline_bytes = 0});
  receiver.Steer(kEverything);
  REQUIRE(receiver.PostReceive(0) == 0);
  CHECK(sender.Send(UdpFrame({}), IBV_SEND_IP_CSUM) == EINVAL);
  REQUIRE(sender.Send(UdpFrame({})) == 0);
  const std::vector<ibv_wc> done = receiver.Poll();
  REQUIRE(done.size() == 1);
  CHECK(done[0].wc_flags == 0);
}

TEST_CASE("a send that is to be segmented arrives as frames of the size asked for, whole and right") {
  Line line;
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_MAX_TSO_HEADER;
  init.max_tso_header = 54;
  ibv_qp* const qp = ExtendedPair(line.cable.left, line.sender.cq(), init);
  REQUIRE(qp != nullptr);
  Bytes big = TcpFrame({.payload_size = 5000});
  std::copy(big.begin() + 54, big.end(), line.sender.slot(0));
  ibv_sge piece = line.sender.Piece(0, 0, 5000);
  ibv_send_wr request{};
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_TSO;
  request.send_flags = IBV_SEND_SIGNALED | IBV_SEND_IP_CSUM;
  request.tso = {.hdr = big.data(), .hdr_sz = 54, .mss = 1460};
  ibv_send_wr* bad = nullptr;
  REQUIRE(ibv_post_send(qp, &request, &bad) == 0);

  const std::vector<ibv_wc> sent = line.sender.Poll();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].opcode == IBV_WC_TSO);
  const std::vector<ibv_wc> done = line.receiver.Poll();
  REQUIRE(done.size() == 4);
  Bytes payload;
  for (const ibv_wc& one : done) {
    CHECK((one.wc_flags & IBV_WC_IP_CSUM_OK) != 0);
    const uint8_t* const at = line.receiver.slot(one.wr_id);
    payload.insert(payload.end(), at + 54, at + one.byte_len);
  }
  CHECK(payload == Bytes(big.begin() + 54, big.end()));
  REQUIRE(ibv_destroy_qp(qp) == 0);
}

TEST_CASE("the extended send calls post what was put together, all or none") {
  Line line;
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  init.send_ops_flags = IBV_QP_EX_WITH_SEND;
  init.cap.max_inline_data = 128;
  ibv_qp* const qp = ExtendedPair(line.cable.left, line.sender.cq(), init);
  REQUIRE(qp != nullptr);
  ibv_qp_ex* const calls = ibv_qp_to_qp_ex(qp);
  REQUIRE(calls != nullptr);
  const Bytes first = UdpFrame({.payload = "first"}), second = UdpFrame({.payload = "second"});
  Bytes inlined = first;
  std::copy(second.begin(), second.end(), line.sender.slot(0));
  calls->wr_flags = IBV_SEND_SIGNALED;
  ibv_wr_start(calls);
  calls->wr_id = 1;
  ibv_wr_send(calls);
  ibv_wr_set_inline_data(calls, inlined.data(), inlined.size());
  std::fill(inlined.begin(), inlined.end(), uint8_t{0});
  calls->wr_id = 2;
  ibv_wr_send(calls);
  const ibv_sge pieces[] = {line.sender.Piece(0, 0, 14), line.sender.Piece(0, 14, second.size() - 14)};
  ibv_wr_set_sge_list(calls, 2, pieces);
  REQUIRE(ibv_wr_complete(calls) == 0);
  CHECK(line.receiver.Receive() == std::vector<Bytes>{first, second});
  CHECK(line.sender.Poll().size() == 2);

  ibv_wr_start(calls);
  for (int i = 0; i < 17; ++i) {  // one more than the queue holds
    ibv_wr_send(calls);
    ibv_wr_set_sge(calls, pieces[0].lkey, pieces[0].addr, static_cast<uint32_t>(second.size()));
  }
  CHECK(ibv_wr_complete(calls) == ENOMEM);
  ibv_wr_start(calls);
  ibv_wr_send(calls);
  ibv_wr_abort(calls);
  CHECK(line.receiver.Receive().empty());
  REQUIRE(ibv_destroy_qp(qp) == 0);
}

TEST_CASE(
    "a queue that strips tags gives frames without, and one that scatters the check sequence gives its "
    "bytes") {
  Line line;
  ibv_cq* const cq = ibv_create_cq(line.cable.right.context(), 64, nullptr, nullptr, 0);
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_CREATE_FLAGS;
  init.create_flags = IBV_QP_CREATE_CVLAN_STRIPPING | IBV_QP_CREATE_SCATTER_FCS;
  ibv_qp* const qp = ExtendedPair(line.cable.right, cq, init);
  REQUIRE(qp != nullptr);
  FlowSpec port = FlowSpec().UdpTo(9);
  ibv_flow* const rule = ibv_create_flow(qp, port.attr());
  ibv_sge piece = line.receiver.Piece(63, 0, RawPair::kSlot);
  ibv_recv_wr request{};
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  REQUIRE(ibv_post_recv(qp, &request, &bad) == 0);

  const Bytes plain = UdpFrame({.destination_port = 9});
  line.sender.Send(UdpFrame({.vlans = {0x2005}, .destination_port = 9}));
  ibv_wc done{};
  for (int i = 0; i < 8 && ibv_poll_cq(cq, 1, &done) == 0; ++i) {
  }
  CHECK(done.byte_len == plain.size() + 4);
  CHECK(std::equal(plain.begin(), plain.end(), line.receiver.slot(63)));
  REQUIRE(ibv_destroy_flow(rule) == 0);
  REQUIRE(ibv_destroy_qp(qp) == 0);
  REQUIRE(ibv_destroy_cq(cq) == 0);
}

// Work queues on a completion queue each, spread over by a hash of what `fields` says.
class Spread {
 public:
  Spread(SoftNic& nic, RawPair& memory, uint64_t fields, size_t queues) {
    std::vector<ibv_wq*> table;
    for (size_t i = 0; i < queues; ++i) {
      cqs_.push_back(ibv_create_cq(nic.context(), 256, nullptr, nullptr, 0));
      ibv_wq_init_attr attr{};
      attr.wq_type = IBV_WQT_RQ;
      attr.max_wr = 64;
      attr.max_sge = 1;
      attr.pd = nic.domain();
      attr.cq = cqs_.back();
      wqs_.push_back(ibv_create_wq(nic.context(), &attr));
      ibv_wq_attr ready{};
      ready.attr_mask = IBV_WQ_ATTR_STATE;
      ready.wq_state = IBV_WQS_RDY;
      REQUIRE(ibv_modify_wq(wqs_.back(), &ready) == 0);
      ibv_sge piece = memory.Piece(i, 0, RawPair::kSlot);
      ibv_recv_wr request{};
      request.sg_list = &piece;
      request.num_sge = 1;
      ibv_recv_wr* bad = nullptr;
      for (int n = 0; n < 64; ++n) REQUIRE(ibv_post_wq_recv(wqs_.back(), &request, &bad) == 0);
    }
    ibv_rwq_ind_table_init_attr attr{};
    attr.log_ind_tbl_size = static_cast<uint32_t>(__builtin_ctzl(queues));
    attr.ind_tbl = wqs_.data();
    table_ = ibv_create_rwq_ind_table(nic.context(), &attr);
    REQUIRE(table_ != nullptr);
    std::array<uint8_t, kRssKeySize> key = kMicrosoftRssKey;
    ibv_qp_init_attr_ex init{};
    init.qp_type = IBV_QPT_RAW_PACKET;
    init.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_IND_TABLE | IBV_QP_INIT_ATTR_RX_HASH;
    init.pd = nic.domain();
    init.rwq_ind_tbl = table_;
    init.rx_hash_conf = {.rx_hash_function = IBV_RX_HASH_FUNC_TOEPLITZ,
                         .rx_hash_key_len = kRssKeySize,
                         .rx_hash_key = key.data(),
                         .rx_hash_fields_mask = fields};
    qp_ = ibv_create_qp_ex(nic.context(), &init);
    REQUIRE(qp_ != nullptr);
    FlowSpec all = kEverything;
    rule_ = ibv_create_flow(qp_, all.attr());
    REQUIRE(rule_ != nullptr);
  }
  ~Spread() {
    ibv_destroy_flow(rule_);
    ibv_destroy_qp(qp_);
    ibv_destroy_rwq_ind_table(table_);
    for (ibv_wq* wq : wqs_) ibv_destroy_wq(wq);
    for (ibv_cq* cq : cqs_) ibv_destroy_cq(cq);
  }

  // Which of them has got a frame since the last time; -1 = none.
  int Chosen() {
    int chosen = -1;
    for (int round = 0; round < 4; ++round) {
      for (size_t i = 0; i < cqs_.size(); ++i) {
        ibv_wc done{};
        if (ibv_poll_cq(cqs_[i], 1, &done) == 1) chosen = static_cast<int>(i);
      }
    }
    return chosen;
  }
  std::vector<ibv_wq*> wqs_;
  ibv_rwq_ind_table* table_ = nullptr;

 private:
  std::vector<ibv_cq*> cqs_;
  ibv_qp* qp_ = nullptr;
  ibv_flow* rule_ = nullptr;
};

// From Microsoft's "Verifying the RSS Hash Calculation".
struct Vector {
  const char *destination, *source;
  uint16_t destination_port, source_port;
  uint32_t with_ports, addresses;
};
constexpr Vector kVectors[] = {
    {"161.142.100.80", "66.9.149.187", 1766, 2794, 0x51ccc178, 0x323e8fc2},
    {"65.69.140.83", "199.92.111.2", 4739, 14230, 0xc626b0ea, 0xd718262a},
    {"12.22.207.184", "24.19.198.95", 38024, 12898, 0x5c2b394a, 0xd2d0a5de},
    {"209.142.163.6", "38.27.205.30", 2217, 48228, 0xafc7327f, 0x82989176},
    {"202.188.127.2", "153.39.163.191", 1303, 44251, 0x10e828a2, 0x5d1809c5},
};

TEST_CASE("frames go to the queue that the published hash values name") {
  constexpr uint64_t kAddresses = IBV_RX_HASH_SRC_IPV4 | IBV_RX_HASH_DST_IPV4;
  constexpr uint64_t kPorts = IBV_RX_HASH_SRC_PORT_TCP | IBV_RX_HASH_DST_PORT_TCP;
  const bool ports = GENERATE(true, false);
  SoftCable cable;
  RawPair from(cable.left), slots(cable.right);
  Spread spread(cable.right, slots, ports ? kAddresses | kPorts : kAddresses, 16);
  for (const Vector& one : kVectors) {
    REQUIRE(from.Send(TcpFrame({.source = one.source,
                                .destination = one.destination,
                                .source_port = one.source_port,
                                .destination_port = one.destination_port})) == 0);
    const uint32_t hash = ports ? one.with_ports : one.addresses;
    CHECK(spread.Chosen() == static_cast<int>(hash % 16));
  }
}

TEST_CASE("what the table of a queue pair stands on cannot be taken away") {
  SoftCable cable;
  RawPair slots(cable.right);
  Spread spread(cable.right, slots, IBV_RX_HASH_SRC_IPV4, 2);
  CHECK(ibv_destroy_wq(spread.wqs_[0]) == EBUSY);
  CHECK(ibv_destroy_rwq_ind_table(spread.table_) == EBUSY);
}

TEST_CASE("hardware without work queues refuses them with EOPNOTSUPP") {
  SoftNic nic({.hardware = SoftwareVerbsHardware::Poor()});
  ibv_wq_init_attr attr{};
  CHECK(Refusal([&] { return ibv_create_wq(nic.context(), &attr); }) == EOPNOTSUPP);
}

TEST_CASE("an extended completion queue tells tag, mark, time and length of an arrival") {
  ManualClock clock;
  clock.Advance(absl::Nanoseconds(12345));
  SoftCable cable({}, {.clock = &clock});
  RawPair sender(cable.left), memory(cable.right);
  ibv_cq_init_attr_ex attr{};
  attr.cqe = 16;
  attr.wc_flags = IBV_WC_EX_WITH_BYTE_LEN | IBV_WC_EX_WITH_QP_NUM | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP |
                  IBV_WC_EX_WITH_CVLAN | IBV_WC_EX_WITH_FLOW_TAG;
  ibv_cq_ex* const cq = ibv_create_cq_ex(cable.right.context(), &attr);
  REQUIRE(cq != nullptr);
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_CREATE_FLAGS;
  init.create_flags = IBV_QP_CREATE_CVLAN_STRIPPING;
  ibv_qp* const qp = ExtendedPair(cable.right, ibv_cq_ex_to_cq(cq), init);
  REQUIRE(qp != nullptr);
  FlowSpec tagged = FlowSpec().UdpTo(2000).Tag(0x1234);
  ibv_flow* const rule = ibv_create_flow(qp, tagged.attr());
  ibv_sge piece = memory.Piece(0, 0, RawPair::kSlot);
  ibv_recv_wr request{};
  request.wr_id = 77;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  REQUIRE(ibv_post_recv(qp, &request, &bad) == 0);
  sender.Send(UdpFrame({.vlans = {0x2005}}));

  ibv_poll_cq_attr poll{};
  REQUIRE(ibv_start_poll(cq, &poll) == 0);
  CHECK(cq->wr_id == 77);
  CHECK(cq->status == IBV_WC_SUCCESS);
  CHECK(ibv_wc_read_opcode(cq) == IBV_WC_RECV);
  CHECK(ibv_wc_read_byte_len(cq) == UdpFrame({}).size());
  CHECK(ibv_wc_read_qp_num(cq) == qp->qp_num);
  CHECK(ibv_wc_read_cvlan(cq) == 0x2005);
  CHECK(ibv_wc_read_flow_tag(cq) == 0x1234);
  CHECK(ibv_wc_read_completion_ts(cq) == 12345);
  CHECK(ibv_next_poll(cq) == ENOENT);
  ibv_end_poll(cq);
  ibv_destroy_flow(rule);
  ibv_destroy_qp(qp);
  CHECK(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)) == 0);
}

}  // namespace
}  // namespace sluice
