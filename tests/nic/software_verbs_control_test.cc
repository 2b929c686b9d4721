// SPDX-License-Identifier: Apache-2.0
// What surrounds the queues of the software verbs device: groups, counters, device memory, rate limits and the cable.
#include <poll.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/nic/soft_nic.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::FlowSpec;
using testing::RawPair;
using testing::Refusal;
using testing::SoftCable;
using testing::SoftNic;
using testing::UdpFrame;

ibv_gid GroupGid(const char* mac) {
  ibv_gid gid{};
  std::memcpy(gid.raw + 10, MacAddress::Parse(mac)->bytes().data(), 6);
  return gid;
}

TEST_CASE("a queue pair gets the multicast groups that it joined, until it leaves them") {
  constexpr char kGroup[] = "01:00:5e:00:00:09";
  SoftCable cable;
  RawPair sender(cable.left), member(cable.right);
  for (size_t i = 0; i < 4; ++i) REQUIRE(member.PostReceive(i) == 0);
  const ibv_gid gid = GroupGid(kGroup);
  REQUIRE(ibv_attach_mcast(member.qp(), &gid, 0) == 0);
  CHECK(ibv_destroy_qp(member.qp()) == EBUSY);
  sender.Send(UdpFrame({.destination_mac = kGroup}));
  sender.Send(UdpFrame({.destination_mac = "01:00:5e:00:00:0a"}));
  CHECK(member.Receive().size() == 1);
  REQUIRE(ibv_detach_mcast(member.qp(), &gid, 0) == 0);
  CHECK(ibv_detach_mcast(member.qp(), &gid, 0) == EINVAL);
  sender.Send(UdpFrame({.destination_mac = kGroup}));
  CHECK(member.Receive().empty());
  const ibv_gid unicast = GroupGid("02:00:00:00:00:01");
  CHECK(ibv_attach_mcast(member.qp(), &unicast, 0) == EINVAL);
}

TEST_CASE("counters show the packets and bytes of the rules that count in them") {
  SoftCable cable;
  RawPair sender(cable.left), receiver(cable.right);
  for (size_t i = 0; i < 8; ++i) REQUIRE(receiver.PostReceive(i) == 0);
  ibv_counters_init_attr init{};
  ibv_counters* const counters = ibv_create_counters(cable.right.context(), &init);
  REQUIRE(counters != nullptr);
  ibv_counter_attach_attr packets{.counter_desc = IBV_COUNTER_PACKETS, .index = 1, .comp_mask = 0};
  ibv_counter_attach_attr bytes{.counter_desc = IBV_COUNTER_BYTES, .index = 0, .comp_mask = 0};
  REQUIRE(ibv_attach_counters_point_flow(counters, &packets, nullptr) == 0);
  REQUIRE(ibv_attach_counters_point_flow(counters, &bytes, nullptr) == 0);
  ibv_flow_spec_counter_action count{};
  count.counters = counters;
  FlowSpec spec = FlowSpec().UdpTo(2000).With(count, IBV_FLOW_SPEC_ACTION_COUNT);
  ibv_flow* const rule = ibv_create_flow(receiver.qp(), spec.attr());
  REQUIRE(rule != nullptr);
  CHECK(ibv_attach_counters_point_flow(counters, &bytes, nullptr) == EBUSY);
  CHECK(ibv_destroy_counters(counters) == EBUSY);

  const Bytes frame = UdpFrame({});
  for (int i = 0; i < 3; ++i) sender.Send(frame);
  sender.Send(UdpFrame({.destination_port = 1}));
  (void)receiver.Poll();
  uint64_t values[2]{};
  REQUIRE(ibv_read_counters(counters, values, 2, 0) == 0);
  CHECK(values[1] == 3);
  CHECK(values[0] == 3 * frame.size());
  CHECK(ibv_read_counters(counters, values, 1, 0) == EINVAL);
  REQUIRE(ibv_destroy_flow(rule) == 0);
  CHECK(ibv_destroy_counters(counters) == 0);
}

TEST_CASE("a frame is sent out of device memory") {
  SoftCable cable;
  RawPair sender(cable.left), receiver(cable.right);
  receiver.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  REQUIRE(receiver.PostReceive(0) == 0);
  Bytes frame = UdpFrame({.payload_size = 22});  // 64 bytes: it takes words only
  ibv_alloc_dm_attr attr{.length = 256, .log_align_req = 0, .comp_mask = 0};
  ibv_dm* const dm = ibv_alloc_dm(cable.left.context(), &attr);
  REQUIRE(dm != nullptr);
  REQUIRE(ibv_memcpy_to_dm(dm, 64, frame.data(), frame.size()) == 0);
  CHECK(ibv_memcpy_to_dm(dm, 253, frame.data(), 4) == EINVAL);
  CHECK(ibv_memcpy_to_dm(dm, 256, frame.data(), 4) == EINVAL);
  CHECK(Refusal([&] { return ibv_reg_dm_mr(cable.left.domain(), dm, 0, 64, IBV_ACCESS_LOCAL_WRITE); }) ==
        EINVAL);
  ibv_mr* const region =
      ibv_reg_dm_mr(cable.left.domain(), dm, 64, 64, IBV_ACCESS_ZERO_BASED | IBV_ACCESS_LOCAL_WRITE);
  REQUIRE(region != nullptr);
  CHECK(ibv_free_dm(dm) == EBUSY);

  ibv_sge piece{.addr = 0, .length = static_cast<uint32_t>(frame.size()), .lkey = region->lkey};
  ibv_send_wr request{};
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  REQUIRE(sender.Post(request) == 0);
  CHECK(receiver.Receive() == std::vector<Bytes>{frame});
  CHECK(ibv_dereg_mr(region) == 0);
  CHECK(ibv_free_dm(dm) == 0);
}

TEST_CASE("device memory ends where the hardware says, and comes back") {
  SoftNic nic;
  ibv_alloc_dm_attr attr{.length = 131072, .log_align_req = 0, .comp_mask = 0};
  ibv_dm* const all = ibv_alloc_dm(nic.context(), &attr);
  REQUIRE(all != nullptr);
  attr.length = 4;
  CHECK(Refusal([&] { return ibv_alloc_dm(nic.context(), &attr); }) == ENOMEM);
  REQUIRE(ibv_free_dm(all) == 0);
  ibv_dm* const some = ibv_alloc_dm(nic.context(), &attr);
  REQUIRE(some != nullptr);
  CHECK(ibv_free_dm(some) == 0);
}

TEST_CASE("a send queue with a rate sends as many bits as the clock allows, and no more") {
  ManualClock clock;
  clock.Advance(absl::Seconds(1));
  SoftCable cable({.clock = &clock}, {.clock = &clock});
  RawPair sender(cable.left), receiver(cable.right);
  receiver.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  for (size_t i = 0; i < 32; ++i) REQUIRE(receiver.PostReceive(i) == 0);
  const Bytes frame = UdpFrame({.payload_size = 958});  // 1000 bytes: 8 us at 1 Gbit/s
  ibv_qp_rate_limit_attr limit{
      .rate_limit = 1'000'000, .max_burst_sz = 1000, .typical_pkt_sz = 0, .comp_mask = 0};
  REQUIRE(ibv_modify_qp_rate_limit(sender.qp(), &limit) == 0);
  for (int i = 0; i < 10; ++i) REQUIRE(sender.Send(frame) == 0);
  (void)sender.Poll();
  size_t arrived = receiver.Receive().size();
  CHECK(arrived <= 2);  // the burst
  for (int i = 0; i < 4; ++i) {
    clock.Advance(absl::Microseconds(8));
    (void)sender.Poll();
    CHECK(receiver.Receive().size() == 1);
    ++arrived;
  }
  clock.Advance(absl::Milliseconds(1));
  for (int i = 0; i < 8; ++i) {
    (void)sender.Poll();
    clock.Advance(absl::Microseconds(8));
    arrived += receiver.Receive().size();
  }
  CHECK(arrived == 10);
}

TEST_CASE("a pulled cable takes the port down, which programs are told, and frames wait for it") {
  SoftCable cable;
  RawPair sender(cable.left), receiver(cable.right);
  receiver.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
  REQUIRE(receiver.PostReceive(0) == 0);
  cable.left.device().PlugCable(false);
  ibv_async_event event{};
  REQUIRE(ibv_get_async_event(cable.left.context(), &event) == 0);
  CHECK(event.event_type == IBV_EVENT_PORT_ERR);
  CHECK(event.element.port_num == 1);
  ibv_ack_async_event(&event);
  ibv_port_attr port{};
  REQUIRE(ibv_query_port(cable.left.context(), 1, &port) == 0);
  CHECK(port.state == IBV_PORT_DOWN);
  REQUIRE(sender.Send(UdpFrame({})) == 0);
  CHECK(receiver.Receive().empty());

  cable.left.device().PlugCable(true);
  REQUIRE(ibv_get_async_event(cable.left.context(), &event) == 0);
  CHECK(event.event_type == IBV_EVENT_PORT_ACTIVE);
  ibv_ack_async_event(&event);
  (void)sender.Poll();
  CHECK(receiver.Receive().size() == 1);
}

TEST_CASE("a peer that goes takes the port down, once it was there") {
  SoftCable cable;
  RawPair stays(cable.left);
  {
    RawPair goes(cable.right);
    (void)stays.Poll();
  }
  (void)stays.Poll();
  for (int i = 0; i < 20; ++i) (void)stays.Poll();
  ibv_port_attr port{};
  REQUIRE(ibv_query_port(cable.left.context(), 1, &port) == 0);
  CHECK(port.state == IBV_PORT_DOWN);
  pollfd watched{cable.left.context()->async_fd, POLLIN, 0};
  CHECK(poll(&watched, 1, 0) == 1);
}

}  // namespace
}  // namespace sluice
