// SPDX-License-Identifier: Apache-2.0
// Extended completion queues of the software verbs device: what is looked at, and by whom.
#include <catch2/catch.hpp>
#include <vector>

#include "tests/nic/soft_nic.h"

namespace sluice {
namespace {

using testing::ExtendedPair;
using testing::FlowSpec;
using testing::RawPair;
using testing::SoftCable;
using testing::UdpFrame;

using Ids = std::vector<uint64_t>;

// Receives through an extended queue, all requests posted that it may have, numbered from 0.
class Receiver {
 public:
  Receiver() : sender(cable_.left), memory_(cable_.right) {
    ibv_cq_init_attr_ex attr{};
    attr.cqe = 128;
    attr.wc_flags = IBV_WC_EX_WITH_BYTE_LEN;
    cq = ibv_create_cq_ex(cable_.right.context(), &attr);
    REQUIRE(cq != nullptr);
    qp = ExtendedPair(cable_.right, plain(), {});
    REQUIRE(qp != nullptr);
    rule_ = ibv_create_flow(qp, FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT).attr());
    while (Post() == 0) {
    }
  }
  ~Receiver() {
    ibv_destroy_flow(rule_);
    ibv_destroy_qp(qp);
    CHECK(ibv_destroy_cq(plain()) == 0);
  }

  ibv_cq* plain() { return ibv_cq_ex_to_cq(cq); }
  int Post() {
    ibv_sge piece = memory_.Piece(0, 0, RawPair::kSlot);
    ibv_recv_wr request{}, *bad = nullptr;
    request.wr_id = posted_;
    request.sg_list = &piece;
    request.num_sge = 1;
    const int error = ibv_post_recv(qp, &request, &bad);
    posted_ += error == 0 ? 1 : 0;
    return error;
  }
  void SendTo(int frames) {
    for (int i = 0; i < frames; ++i) REQUIRE(sender.Send(UdpFrame({})) == 0);
  }
  bool Start() {
    ibv_poll_cq_attr attr{};
    return ibv_start_poll(cq, &attr) == 0;
  }
  // The numbers of up to `most` that completed.
  Ids Poll(size_t most) {
    Ids ids;
    if (!Start()) return ids;
    do {
      ids.push_back(cq->wr_id);
    } while (ids.size() < most && ibv_next_poll(cq) == 0);
    ibv_end_poll(cq);
    return ids;
  }

 private:
  SoftCable cable_;

 public:
  RawPair sender;
  ibv_cq_ex* cq = nullptr;
  ibv_qp* qp = nullptr;

 private:
  RawPair memory_;
  ibv_flow* rule_ = nullptr;
  uint64_t posted_ = 0;
};

TEST_CASE("completions that a poll did not come to are there for the next, each once") {
  Receiver receiver;
  receiver.SendTo(5);
  CHECK(receiver.Poll(2) == Ids{0, 1});
  receiver.SendTo(1);
  CHECK(receiver.Poll(1) == Ids{2});
  CHECK(receiver.Poll(64) == Ids{3, 4});  // the wire is looked at when nothing else is there
  CHECK(receiver.Poll(64) == Ids{5});
  CHECK(receiver.Poll(64).empty());
}

TEST_CASE("a request is given back when the poll is over that came to it, and not before") {
  Receiver receiver;
  receiver.SendTo(2);
  REQUIRE(receiver.Start());
  CHECK(receiver.Post() == ENOMEM);
  ibv_end_poll(receiver.cq);
  CHECK(receiver.Post() == 0);
  CHECK(receiver.Post() == ENOMEM);
}

TEST_CASE("while a completion queue is looked at, nobody else gets anything from it, or changes its size") {
  Receiver receiver;
  receiver.SendTo(2);
  REQUIRE(receiver.Start());
  ibv_wc done{};
  CHECK(ibv_poll_cq(receiver.plain(), 1, &done) == 0);
  CHECK_FALSE(receiver.Start());
  CHECK(ibv_resize_cq(receiver.plain(), 256) == EINVAL);
  ibv_end_poll(receiver.cq);
  CHECK(ibv_resize_cq(receiver.plain(), 256) == 0);
  REQUIRE(ibv_poll_cq(receiver.plain(), 1, &done) == 1);
  CHECK(done.wr_id == 1);
}

TEST_CASE("a queue pair that is reset takes with it all completions but the one that is looked at") {
  Receiver receiver;
  receiver.SendTo(3);
  REQUIRE(receiver.Start());
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RESET;
  REQUIRE(ibv_modify_qp(receiver.qp, &attr, IBV_QP_STATE) == 0);
  CHECK(receiver.cq->wr_id == 0);
  CHECK(ibv_wc_read_byte_len(receiver.cq) == UdpFrame({}).size());
  ibv_end_poll(receiver.cq);
  CHECK(receiver.Poll(64).empty());
}

}  // namespace
}  // namespace sluice
