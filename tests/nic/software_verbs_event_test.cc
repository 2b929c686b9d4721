// SPDX-License-Identifier: Apache-2.0
// Completion channels of the software verbs device: programs that sleep, and what is owed to them.
#include <poll.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "nic/softverbs/interposed_calls_internal.h"
#include "tests/nic/soft_nic.h"

namespace sluice {
namespace {

using testing::FlowSpec;
using testing::RawPair;
using testing::SoftCable;
using testing::UdpFrame;

// In a program ibv_create_comp_channel makes it, for which the preloaded library stands in.
struct Channel {
  explicit Channel(SoftCable& cable)
      : it(SoftCallsOf(cable.right.context()->device)->create_channel(cable.right.context())) {}
  ~Channel() { ibv_destroy_comp_channel(it); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  bool Readable(int milliseconds) {
    pollfd watched{it->fd, POLLIN, 0};
    return poll(&watched, 1, milliseconds) == 1;
  }
  ibv_cq* Event() {
    ibv_cq* rung = nullptr;
    void* context = nullptr;
    return ibv_get_cq_event(it, &rung, &context) == 0 ? rung : nullptr;
  }

  ibv_comp_channel* const it;
};

// A receiver whose completion queue has a channel.
struct Sleeper {
  Sleeper(SoftCable& cable, Channel& channel) : pair(cable.right, {.channel = channel.it}) {
    pair.Steer(FlowSpec(IBV_FLOW_ATTR_ALL_DEFAULT));
    for (size_t i = 0; i < 16; ++i) REQUIRE(pair.PostReceive(i) == 0);
  }

  RawPair pair;
};

constexpr int kLong = 10'000;

TEST_CASE("a program that sleeps on an armed queue is woken by an arrival that nobody polled for") {
  SoftCable cable;
  RawPair sender(cable.left);
  Channel channel(cable);
  Sleeper sleeper(cable, channel);
  REQUIRE(ibv_req_notify_cq(sleeper.pair.cq(), 0) == 0);
  CHECK_FALSE(channel.Readable(0));
  REQUIRE(sender.Send(UdpFrame({})) == 0);
  REQUIRE(channel.Readable(kLong));
  CHECK(channel.Event() == sleeper.pair.cq());
  CHECK(sleeper.pair.Receive().size() == 1);
  ibv_ack_cq_events(sleeper.pair.cq(), 1);
}

TEST_CASE("an alarm rings once, and is set again by the program") {
  SoftCable cable;
  RawPair sender(cable.left);
  Channel channel(cable);
  Sleeper sleeper(cable, channel);
  for (int round = 0; round < 3; ++round) {
    REQUIRE(ibv_req_notify_cq(sleeper.pair.cq(), 0) == 0);
    for (int i = 0; i < 4; ++i) REQUIRE(sender.Send(UdpFrame({})) == 0);
    REQUIRE(channel.Readable(kLong));
    CHECK(channel.Event() == sleeper.pair.cq());
    for (size_t got = 0; got < 4;) got += sleeper.pair.Receive().size();
    CHECK_FALSE(channel.Readable(0));
    for (size_t i = 0; i < 4; ++i) REQUIRE(sleeper.pair.PostReceive(i) == 0);
  }
  ibv_ack_cq_events(sleeper.pair.cq(), 3);
}

TEST_CASE("what completed before the alarm was set rings at once") {
  SoftCable cable;
  RawPair sender(cable.left), other(cable.right);
  Channel channel(cable);
  Sleeper sleeper(cable, channel);
  REQUIRE(sender.Send(UdpFrame({})) == 0);
  (void)other.Poll();  // moves the port, and leaves the sleeper's queue alone
  REQUIRE(ibv_req_notify_cq(sleeper.pair.cq(), 0) == 0);
  REQUIRE(channel.Readable(0));
  CHECK(channel.Event() == sleeper.pair.cq());
  ibv_ack_cq_events(sleeper.pair.cq(), 1);
}

TEST_CASE("a queue that goes takes those of its events with it that nobody has read") {
  SoftCable cable;
  RawPair sender(cable.left);
  Channel channel(cable);
  {
    Sleeper sleeper(cable, channel);
    REQUIRE(ibv_req_notify_cq(sleeper.pair.cq(), 0) == 0);
    REQUIRE(sender.Send(UdpFrame({})) == 0);
    REQUIRE(channel.Readable(kLong));
  }
  CHECK_FALSE(channel.Readable(0));
}

}  // namespace
}  // namespace sluice
