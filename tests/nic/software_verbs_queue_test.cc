// SPDX-License-Identifier: Apache-2.0
// Queues of the software verbs device: requests, states, completions, and what becomes of the wrong ones.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <thread>

#include "tests/nic/soft_nic.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using testing::AllocationCounter;
using testing::Below;
using testing::Bytes;
using testing::FlowSpec;
using testing::PrintedSeed;
using testing::Random;
using testing::RawPair;
using testing::RawPairOptions;
using testing::Refusal;
using testing::SoftCable;
using testing::SoftNic;
using testing::UdpFrame;

const FlowSpec kEverything(IBV_FLOW_ATTR_ALL_DEFAULT);

// A sender at one end, and at the other a receiver of everything.
struct Line {
  explicit Line(const RawPairOptions& options = {}, const SoftwareVerbsOptions& nic = {})
      : cable(nic, nic), sender(cable.left, options), receiver(cable.right, options) {
    receiver.Steer(kEverything);
  }
  void PostReceives(size_t count) {
    for (size_t i = 0; i < count; ++i) REQUIRE(receiver.PostReceive(i) == 0);
  }

  SoftCable cable;
  RawPair sender;
  RawPair receiver;
};

ibv_send_wr SendOf(ibv_sge& piece, uint64_t id = 0) {
  ibv_send_wr request{};
  request.wr_id = id;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  return request;
}

TEST_CASE("a frame of several pieces arrives whole, and both ends are told") {
  Line line;
  line.PostReceives(1);
  const Bytes frame = UdpFrame({.payload_size = 700});
  std::copy(frame.begin(), frame.end(), line.sender.slot(0));
  ibv_sge pieces[] = {line.sender.Piece(0, 0, 14), line.sender.Piece(0, 14, 100),
                      line.sender.Piece(0, 114, frame.size() - 114)};
  ibv_send_wr request{};
  request.wr_id = 42;
  request.sg_list = pieces;
  request.num_sge = 3;
  request.opcode = IBV_WR_SEND;
  REQUIRE(line.sender.Post(request) == 0);

  const std::vector<ibv_wc> sent = line.sender.Poll();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].wr_id == 42);
  CHECK(sent[0].status == IBV_WC_SUCCESS);
  CHECK(sent[0].opcode == IBV_WC_SEND);
  CHECK(sent[0].qp_num == line.sender.qp()->qp_num);
  CHECK(line.receiver.Receive() == std::vector<Bytes>{frame});
}

TEST_CASE("an inline send has taken its bytes when the call is back") {
  Line line;
  line.receiver.SetState(IBV_QPS_RESET);  // so that nothing moves yet
  const Bytes frame = UdpFrame({.payload = "inline"});
  Bytes memory = frame;  // not registered
  ibv_sge piece{.addr = reinterpret_cast<uint64_t>(memory.data()),
                .length = static_cast<uint32_t>(memory.size()),
                .lkey = 0};
  ibv_send_wr request = SendOf(piece);
  request.send_flags = IBV_SEND_INLINE;
  for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR}) REQUIRE(line.receiver.SetState(state) == 0);
  line.PostReceives(1);
  REQUIRE(line.sender.Post(request) == 0);
  std::fill(memory.begin(), memory.end(), uint8_t{0});
  CHECK(line.receiver.Receive() == std::vector<Bytes>{frame});
}

TEST_CASE("a send without a signal completes with the next that has one, and its slot is free only then") {
  Line line({.requests = 4, .signal_all = false});
  for (int i = 0; i < 3; ++i) REQUIRE(line.sender.Send(UdpFrame({})) == 0);
  CHECK(line.sender.Poll().empty());
  REQUIRE(line.sender.Send(UdpFrame({}), IBV_SEND_SIGNALED, 3) == 0);
  CHECK(line.sender.Send(UdpFrame({})) == ENOMEM);
  const std::vector<ibv_wc> done = line.sender.Poll();
  REQUIRE(done.size() == 1);
  CHECK(done[0].wr_id == 3);
  for (int i = 0; i < 4; ++i) CHECK(line.sender.Send(UdpFrame({})) == 0);
}

TEST_CASE("a list of requests is taken up to the first that cannot be, which is named") {
  Line line({.requests = 4});
  const Bytes frame = UdpFrame({});
  std::copy(frame.begin(), frame.end(), line.sender.slot(0));
  ibv_sge piece = line.sender.Piece(0, 0, frame.size());
  ibv_send_wr list[3]{};
  for (ibv_send_wr& request : list) {
    request = SendOf(piece);
    request.next = &request + 1;
  }
  list[2].next = nullptr;
  list[1].opcode = IBV_WR_RDMA_WRITE;
  ibv_send_wr* bad = nullptr;
  CHECK(ibv_post_send(line.sender.qp(), list, &bad) == EINVAL);
  CHECK(bad == &list[1]);
  CHECK(line.sender.Poll().size() == 1);
}

TEST_CASE("a piece outside of its region, or of another domain, fails its request and the queue pair") {
  Line line;
  ibv_sge piece = line.sender.Piece(0, 0, 100);
  const char* const wrong = GENERATE("beyond the end", "unknown key", "another's key");
  if (std::string(wrong) == "beyond the end") piece.length = 1u << 30;
  if (std::string(wrong) == "unknown key") piece.lkey ^= 1;
  if (std::string(wrong) == "another's key") piece.lkey = line.receiver.region()->lkey + 0x100;
  CAPTURE(wrong);
  const ibv_send_wr request = SendOf(piece, 9);
  REQUIRE(line.sender.Post(request) == 0);
  const std::vector<ibv_wc> done = line.sender.Poll();
  REQUIRE(done.size() == 1);
  CHECK(done[0].wr_id == 9);
  CHECK(done[0].status == (piece.length > 100 ? IBV_WC_LOC_LEN_ERR : IBV_WC_LOC_PROT_ERR));
  ibv_qp_attr attr{};
  ibv_qp_init_attr init{};
  REQUIRE(ibv_query_qp(line.sender.qp(), &attr, IBV_QP_STATE, &init) == 0);
  CHECK(attr.qp_state == IBV_QPS_ERR);
}

TEST_CASE("a frame longer than the receive request fails that request alone") {
  Line line;
  REQUIRE(line.receiver.PostReceive(0, 64) == 0);
  REQUIRE(line.receiver.PostReceive(1) == 0);
  const Bytes frame = UdpFrame({.payload_size = 200});
  line.sender.Send(frame);
  line.sender.Send(frame);
  const std::vector<ibv_wc> done = line.receiver.Poll();
  REQUIRE(done.size() == 2);
  CHECK(done[0].status == IBV_WC_LOC_LEN_ERR);
  CHECK(done[1].status == IBV_WC_SUCCESS);
  CHECK(done[1].byte_len == frame.size());
}

TEST_CASE("a queue pair in error gives back every request once, as flushed, and new ones too") {
  Line line;
  line.PostReceives(5);
  REQUIRE(line.receiver.SetState(IBV_QPS_ERR) == 0);
  line.PostReceives(2);
  REQUIRE(line.receiver.Send(UdpFrame({})) == 0);
  const std::vector<ibv_wc> done = line.receiver.Poll();
  CHECK(done.size() == 8);
  for (const ibv_wc& one : done) CHECK(one.status == IBV_WC_WR_FLUSH_ERR);
  for (const ibv_qp_state state : {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    REQUIRE(line.receiver.SetState(state) == 0);
  }
  line.PostReceives(1);
  line.sender.Send(UdpFrame({}));
  CHECK(line.receiver.Receive().size() == 1);
}

TEST_CASE("flushed requests that the completion queue has no room for follow when there is some") {
  Line line({.completions = 4});
  line.PostReceives(20);
  REQUIRE(line.receiver.SetState(IBV_QPS_ERR) == 0);
  CHECK(line.receiver.Poll().size() == 20);
}

TEST_CASE("steps that the state machine does not have are refused, as are sends before their time") {
  SoftNic nic;
  RawPair pair(nic);
  REQUIRE(pair.SetState(IBV_QPS_RESET) == 0);
  CHECK(pair.PostReceive(0) == EINVAL);
  CHECK(pair.SetState(IBV_QPS_RTR) == EINVAL);
  CHECK(pair.SetState(IBV_QPS_RTS) == EINVAL);
  CHECK(pair.SetState(IBV_QPS_SQD) == EINVAL);
  REQUIRE(pair.SetState(IBV_QPS_INIT) == 0);
  CHECK(pair.PostReceive(0) == 0);
  CHECK(pair.SetState(IBV_QPS_RTS) == EINVAL);
  REQUIRE(pair.SetState(IBV_QPS_RTR) == 0);
  CHECK(pair.Send(UdpFrame({})) == EINVAL);
}

TEST_CASE("more than the hardware has is refused with EINVAL, and what it is not with EOPNOTSUPP") {
  SoftNic nic({.hardware = SoftwareVerbsHardware::Poor()});
  ibv_cq* const cq = ibv_create_cq(nic.context(), 16, nullptr, nullptr, 0);
  REQUIRE(cq != nullptr);
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = cq;
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.cap = {
      .max_send_wr = 257, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1, .max_inline_data = 0};
  const auto make = [&] { return ibv_create_qp(nic.domain(), &init); };
  CHECK(Refusal(make) == EINVAL);
  init.cap.max_send_wr = 1;
  init.cap.max_send_sge = 2;
  CHECK(Refusal(make) == EINVAL);
  init.qp_type = IBV_QPT_RC;
  CHECK(Refusal(make) == EOPNOTSUPP);
  CHECK(Refusal([&] { return ibv_create_cq(nic.context(), 1025, nullptr, nullptr, 0); }) == EINVAL);
  CHECK(Refusal([&] { return ibv_create_cq(nic.context(), 0, nullptr, nullptr, 0); }) == EINVAL);
  CHECK(Refusal([&] { return ibv_create_cq(nic.context(), 1, nullptr, nullptr, 1); }) == EINVAL);
  CHECK(ibv_destroy_cq(cq) == 0);
}

TEST_CASE("what others stand on cannot be taken away") {
  SoftNic nic;
  RawPair pair(nic);
  pair.Steer(kEverything);
  CHECK(ibv_destroy_qp(pair.qp()) == EBUSY);
  CHECK(ibv_destroy_cq(pair.cq()) == EBUSY);
}

TEST_CASE(
    "a completion queue keeps what is in it when its size changes, and refuses to be too small for it") {
  Line line;
  for (uint64_t i = 0; i < 10; ++i) REQUIRE(line.sender.Send(UdpFrame({}), 0, i) == 0);
  CHECK(ibv_resize_cq(line.sender.cq(), 9) == EINVAL);
  REQUIRE(ibv_resize_cq(line.sender.cq(), 300) == 0);
  CHECK(line.sender.cq()->cqe == 300);
  const std::vector<ibv_wc> done = line.sender.Poll();
  REQUIRE(done.size() == 10);
  for (uint64_t i = 0; i < 10; ++i) CHECK(done[i].wr_id == i);
}

TEST_CASE("nothing is lost while the receiver falls behind: requests stay in the send queue") {
  Line line({.requests = 64, .completions = 64});
  Random random(PrintedSeed());
  uint64_t sent = 0, received = 0, posted = 0;
  std::vector<Bytes> frames;
  for (int round = 0; round < 400; ++round) {
    for (uint64_t n = Below(random, 8); n > 0; --n) {
      const Bytes frame = UdpFrame({.payload_size = 20 + sent % 1000});
      if (line.sender.Send(frame) != 0) break;
      frames.push_back(frame);
      ++sent;
    }
    for (uint64_t n = Below(random, 4); n > 0 && posted - received < 32; --n) {
      REQUIRE(line.receiver.PostReceive(posted++ % 32) == 0);
    }
    (void)line.sender.Poll(4);
    for (const Bytes& frame : line.receiver.Receive()) CHECK(frame == frames[received++]);
  }
  while (received < sent) {
    REQUIRE(line.receiver.PostReceive(posted++ % 32) == 0);
    (void)line.sender.Poll(4);
    for (const Bytes& frame : line.receiver.Receive()) CHECK(frame == frames[received++]);
  }
  CHECK(line.cable.right.stats().drops.total() == 0);
}

TEST_CASE("a receiver that does not come back is waited for once, and then dropped for at once") {
  ManualClock clock;
  Line line({}, {.patience = absl::Milliseconds(100), .clock = &clock});
  for (int i = 0; i < 20; ++i) REQUIRE(line.sender.Send(UdpFrame({})) == 0);
  (void)line.receiver.Poll();
  CHECK(line.cable.right.stats().drops.total() == 0);
  clock.Advance(absl::Milliseconds(101));
  (void)line.receiver.Poll();
  CHECK(line.cable.right.stats().drops[DropReason::kReceiveRingFull] == 20);
  line.PostReceives(1);
  REQUIRE(line.sender.Send(UdpFrame({})) == 0);
  CHECK(line.receiver.Receive().size() == 1);
}

TEST_CASE("frames for nobody are dropped at once, and stall no peer") {
  SoftCable cable;
  RawPair sender(cable.left), deaf(cable.right);
  for (int i = 0; i < 50; ++i) REQUIRE(sender.Send(UdpFrame({})) == 0);
  (void)deaf.Poll();
  CHECK(cable.right.stats().drops[DropReason::kNoDestination] == 50);
}

TEST_CASE("sending and receiving allocate nothing, once both ends have begun") {
  Line line;
  const Bytes frame = UdpFrame({});
  ibv_wc done{};
  const auto carry = [&](size_t frames) {
    for (size_t sent = 0, received = 0; received < frames;) {
      if (sent < frames && line.sender.Send(frame) == 0) ++sent;
      (void)ibv_poll_cq(line.sender.cq(), 1, &done);
      if (ibv_poll_cq(line.receiver.cq(), 1, &done) == 1)
        received += line.receiver.PostReceive(done.wr_id) == 0;
    }
  };
  line.PostReceives(32);
  carry(100);
  const AllocationCounter counter;
  carry(1000);
  CHECK(counter.allocations() == 0);
}

TEST_CASE("two threads send and receive at full speed, and every frame arrives once and in order") {
  Line line({.requests = 128, .completions = 512});
  constexpr uint32_t kFrames = 3000;
  std::thread sending([&] {
    for (uint32_t i = 0; i < kFrames;) {
      Bytes frame = UdpFrame({.sequence = 0, .payload = std::string(4, ' ')});
      std::memcpy(frame.data() + frame.size() - 4, &i, 4);
      i += line.sender.Send(frame) == 0 ? 1 : 0;
      (void)line.sender.Poll(8);
    }
  });
  std::vector<uint32_t> got;
  for (uint32_t posted = 0; got.size() < kFrames;) {
    while (posted - got.size() < 64) (void)line.receiver.PostReceive(posted++ % 64);
    for (const Bytes& frame : line.receiver.Receive()) {
      uint32_t number;
      std::memcpy(&number, frame.data() + frame.size() - 4, 4);
      got.push_back(number);
    }
  }
  sending.join();
  CHECK(std::is_sorted(got.begin(), got.end()));
  CHECK(std::adjacent_find(got.begin(), got.end()) == got.end());
}

}  // namespace
}  // namespace sluice
