// SPDX-License-Identifier: Apache-2.0
// Faults of the software verbs device: what a program sees of each, and what holds all the same.
#include <poll.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <optional>

#include "tests/nic/soft_nic.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using testing::Below;
using testing::Bytes;
using testing::FlowSpec;
using testing::PrintedSeed;
using testing::Random;
using testing::RawPair;
using testing::RawPairOptions;
using testing::Refusal;
using testing::SoftCable;
using testing::UdpFrame;

const FlowSpec kEverything(IBV_FLOW_ATTR_ALL_DEFAULT);

// The next asynchronous event, if there is one. It has to be acknowledged.
std::optional<ibv_async_event> NextEvent(ibv_context* context) {
  pollfd watched{context->async_fd, POLLIN, 0};
  ibv_async_event event{};
  if (poll(&watched, 1, 0) != 1 || ibv_get_async_event(context, &event) != 0) return std::nullopt;
  return event;
}

// The types of all that wait, in order, acknowledged.
std::vector<ibv_event_type> Events(ibv_context* context) {
  std::vector<ibv_event_type> types;
  while (std::optional<ibv_async_event> event = NextEvent(context)) {
    types.push_back(event->event_type);
    ibv_ack_async_event(&*event);
  }
  return types;
}

using Types = std::vector<ibv_event_type>;

// A sender at one end, a receiver of everything at the other; frames and requests are numbered.
struct Line {
  explicit Line(const SoftwareVerbsOptions& nic = {}, const RawPairOptions& options = {})
      : cable(nic, nic), sender(cable.left, options), receiver(cable.right, options) {
    receiver.Steer(kEverything);
  }

  bool Send(uint64_t number) {
    return sender.Send(UdpFrame({.payload = std::to_string(number)}), 0, number) == 0;
  }
  void PostReceives(size_t count) {
    for (size_t i = 0; i < count; ++i) REQUIRE(receiver.PostReceive(posted++ % kSlots) == 0);
  }
  // The numbers of what has arrived, with a new request in the place of each that is done.
  void Receive(std::vector<uint64_t>& numbers) {
    for (const Bytes& frame : receiver.Receive()) {
      constexpr size_t kPayload = 42;
      numbers.push_back(std::stoull(std::string(frame.begin() + kPayload, frame.end())));
      (void)receiver.PostReceive(posted++ % kSlots);
    }
  }

  static constexpr size_t kSlots = 64;
  SoftCable cable;
  RawPair sender;
  RawPair receiver;
  size_t posted = 0;
};

size_t CountOf(const std::vector<ibv_wc>& done, ibv_wc_status status) {
  return static_cast<size_t>(
      std::count_if(done.begin(), done.end(), [=](const ibv_wc& one) { return one.status == status; }));
}

TEST_CASE("a queue pair that fails in flight gives each request back once, and says that it failed") {
  Line line;
  line.PostReceives(10);
  for (uint64_t i = 0; i < 20; ++i) REQUIRE(line.Send(i));  // ten of them find no request
  const std::vector<ibv_wc> arrived = line.receiver.Poll(4);
  REQUIRE(line.cable.right.device().FailQueue(line.receiver.qp()->qp_num) == 1);
  const std::vector<ibv_wc> rest = line.receiver.Poll();
  CHECK(arrived.size() + rest.size() == 10);
  CHECK(CountOf(rest, IBV_WC_SUCCESS) + CountOf(rest, IBV_WC_WR_FLUSH_ERR) == rest.size());

  std::optional<ibv_async_event> event = NextEvent(line.cable.right.context());
  REQUIRE(event.has_value());
  CHECK(event->event_type == IBV_EVENT_QP_FATAL);
  CHECK(event->element.qp == line.receiver.qp());
  ibv_ack_async_event(&*event);
  CHECK(line.cable.right.device().FailQueues() == 0);  // once
}

TEST_CASE("a failed queue pair works again when it was reset and led through its states") {
  Line line;
  line.PostReceives(10);
  REQUIRE(line.cable.right.device().FailQueues() == 1);
  CHECK(CountOf(line.receiver.Poll(), IBV_WC_WR_FLUSH_ERR) == 10);
  for (const ibv_qp_state state : {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    REQUIRE(line.receiver.SetState(state) == 0);
  }
  line.PostReceives(1);
  REQUIRE(line.Send(7));
  std::vector<uint64_t> got;
  line.Receive(got);
  CHECK(got == std::vector<uint64_t>{7});
  CHECK(Events(line.cable.right.context()) == Types{IBV_EVENT_QP_FATAL});
}

TEST_CASE("an event that nobody has read goes with its queue pair, and does not hold it") {
  SoftCable cable;
  {
    RawPair pair(cable.left);
    REQUIRE(cable.left.device().FailQueue(pair.qp()->qp_num) == 1);
  }
  CHECK(Events(cable.left.context()).empty());
}

TEST_CASE("a completion queue that may be overrun is, by one completion too many, and its queue pair fails") {
  Line line({.faults = {.overrun = true}}, {.completions = 4});
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(line.Send(i));
  CHECK(Events(line.cable.left.context()).empty());
  REQUIRE(line.Send(4));
  CHECK(Events(line.cable.left.context()) == Types{IBV_EVENT_CQ_ERR, IBV_EVENT_QP_FATAL});
  CHECK(CountOf(line.sender.Poll(), IBV_WC_SUCCESS) == 4);
  CHECK(line.Send(5));  // flushed, for nobody
  CHECK(line.sender.Poll().empty());
}

TEST_CASE("a completion queue that may not be overrun holds requests up instead") {
  Line line({}, {.completions = 4});
  for (uint64_t i = 0; i < 20; ++i) REQUIRE(line.Send(i));
  CHECK(line.sender.Poll().size() == 20);
  CHECK(Events(line.cable.left.context()).empty());
}

TEST_CASE("a completion queue is overrun by order, and known by its handle") {
  Line line;
  line.PostReceives(3);
  SoftwareVerbs& device = line.cable.right.device();
  CHECK_FALSE(device.OverrunCompletions(line.receiver.cq()->handle + 1));
  REQUIRE(device.OverrunCompletions(line.receiver.cq()->handle));
  CHECK_FALSE(device.OverrunCompletions(line.receiver.cq()->handle));
  CHECK(Events(line.cable.right.context()) == Types{IBV_EVENT_CQ_ERR, IBV_EVENT_QP_FATAL});
  CHECK(line.receiver.Poll().empty());
}

TEST_CASE("a frame for two queues with one completion queue waits until it has room for both") {
  SoftCable cable;
  RawPair sender(cable.left);
  RawPair first(cable.right, {.completions = 1});
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = first.cq();
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.cap = {.max_send_wr = 1, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1, .max_inline_data = 0};
  ibv_qp* const second = ibv_create_qp(cable.right.domain(), &init);
  REQUIRE(second != nullptr);
  ibv_qp_attr attr{};
  attr.port_num = 1;
  for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR}) {
    attr.qp_state = state;
    REQUIRE(ibv_modify_qp(second, &attr, IBV_QP_STATE | (state == IBV_QPS_INIT ? IBV_QP_PORT : 0)) == 0);
  }
  FlowSpec everything = kEverything;
  first.Steer(everything);
  ibv_flow* const rule = ibv_create_flow(second, everything.attr());
  ibv_sge piece = first.Piece(1, 0, RawPair::kSlot);
  ibv_recv_wr request{.wr_id = 1, .next = nullptr, .sg_list = &piece, .num_sge = 1};
  ibv_recv_wr* bad = nullptr;
  REQUIRE((first.PostReceive(0) == 0 && ibv_post_recv(second, &request, &bad) == 0));
  REQUIRE(sender.Send(UdpFrame({})) == 0);
  CHECK(first.Poll().empty());
  REQUIRE(ibv_resize_cq(first.cq(), 2) == 0);
  CHECK(first.Poll().size() == 2);
  CHECK(ibv_destroy_flow(rule) == 0);
  CHECK(ibv_destroy_qp(second) == 0);
}

TEST_CASE("a card that is pulled out flushes what was posted, and answers EIO from then on") {
  Line line;
  line.PostReceives(8);
  line.cable.right.device().Remove();
  CHECK(CountOf(line.receiver.Poll(), IBV_WC_WR_FLUSH_ERR) == 8);
  CHECK(line.receiver.PostReceive(0) == EIO);
  CHECK(line.receiver.Send(UdpFrame({})) == EIO);
  CHECK(line.receiver.SetState(IBV_QPS_RESET) == EIO);
  ibv_context* const context = line.cable.right.context();
  CHECK(Refusal([&] { return ibv_create_cq(context, 1, nullptr, nullptr, 0); }) == EIO);
  CHECK(Refusal([&] { return ibv_alloc_pd(context); }) == EIO);
  ibv_port_attr port{};
  REQUIRE(ibv_query_port(context, 1, &port) == 0);
  CHECK(port.state == IBV_PORT_DOWN);
  CHECK(Events(context) == Types{IBV_EVENT_PORT_ERR, IBV_EVENT_DEVICE_FATAL});
  line.cable.right.device().PlugCable(true);
  CHECK(Events(context).empty());
}

TEST_CASE("late completions are seen when their time has come, in order") {
  ManualClock clock;
  Line line({.clock = &clock, .faults = {.completions_late = absl::Microseconds(100)}});
  REQUIRE(line.Send(1));
  clock.Advance(absl::Microseconds(60));
  REQUIRE(line.Send(2));
  CHECK(line.sender.Poll().empty());
  clock.Advance(absl::Microseconds(50));
  CHECK(line.sender.Poll().size() == 1);
  line.cable.left.device().SetFaults({});
  REQUIRE(line.Send(3));
  CHECK(line.sender.Poll().empty());  // not before the second
  clock.Advance(absl::Microseconds(50));
  const std::vector<ibv_wc> done = line.sender.Poll();
  REQUIRE(done.size() == 2);
  CHECK((done[0].wr_id == 2 && done[1].wr_id == 3));
}

// Faults of frames, each at one end or the other
// ---------------------------------------------------------------------------------------------------------

// Sends `count` frames in random bursts while the other end polls now and then, and goes on until nothing moves any more.
std::vector<uint64_t> Carry(Line& line, ManualClock& clock, Random& random, uint64_t count) {
  std::vector<uint64_t> got;
  line.PostReceives(Line::kSlots);
  uint64_t completed = 0;
  for (uint64_t sent = 0; completed < count;) {
    for (uint64_t n = Below(random, 8); n > 0 && sent < count; --n) sent += line.Send(sent) ? 1 : 0;
    for (const ibv_wc& done : line.sender.Poll(8)) REQUIRE(done.wr_id == completed++);
    if (Below(random, 2) == 0) line.Receive(got);
    clock.Advance(absl::Microseconds(10));
  }
  for (size_t before = got.size() + 1; before != got.size();) {
    before = got.size();
    clock.Advance(absl::Seconds(1));
    (void)line.sender.Poll(1);
    line.Receive(got);
  }
  return got;
}

struct FrameFault {
  const char* name;
  FaultPlan plan;
};

bool InOrder(const std::vector<uint64_t>& numbers) { return std::is_sorted(numbers.begin(), numbers.end()); }

void CheckAccounts(const std::string& fault, const std::vector<uint64_t>& got, uint64_t sent, uint64_t lost) {
  std::map<uint64_t, int> times;
  for (const uint64_t number : got) ++times[number];
  const auto most = std::max_element(times.begin(), times.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  CHECK(times.size() == sent - lost);
  CHECK(most->second == (fault == "duplicate" ? 2 : 1));
  CHECK(InOrder(got) == (fault != "reorder"));
  CHECK((lost > 0) == (fault == "lose"));
}

TEST_CASE("under each fault of frames what arrives, arrives as the fault has it and not otherwise") {
  constexpr uint64_t kFrames = 600, kFillers = 8;
  Random random(PrintedSeed());
  const bool sending = GENERATE(true, false);
  const FrameFault fault = GENERATE(FrameFault{"none", {}}, FrameFault{"lose", {.lose_chance = 0.2}},
                                    FrameFault{"duplicate", {.duplicate_chance = 0.2}},
                                    FrameFault{"reorder", {.reorder_chance = 0.2, .reorder_by = 2}},
                                    FrameFault{"delay", {.delay_chance = 0.2}});
  CAPTURE(fault.name, sending);
  ManualClock clock;
  Line line({.clock = &clock});
  SoftwareVerbs& faulty = (sending ? line.cable.left : line.cable.right).device();
  SoftwareVerbsFaults faults{.seed = random()};
  (sending ? faults.send : faults.receive) = fault.plan;
  faulty.SetFaults(faults);
  std::vector<uint64_t> got = Carry(line, clock, random, kFrames);
  const uint64_t lost = faulty.stats().drops[DropReason::kFault];
  faulty.SetFaults({});
  for (uint64_t i = 0; i < kFillers; ++i) REQUIRE(line.Send(kFrames + i));  // overtake what was held back
  line.Receive(got);
  CheckAccounts(fault.name, got, kFrames + kFillers, lost);
}

// Faults of the device, in the middle of traffic
// ---------------------------------------------------------------------------------------------------------

// Whose completions came, once each; -1 stands for a status that is neither success nor a flush.
void Count(const std::vector<ibv_wc>& done, std::map<uint64_t, int>& times) {
  for (const ibv_wc& one : done) {
    const bool known = one.status == IBV_WC_SUCCESS || one.status == IBV_WC_WR_FLUSH_ERR;
    times[one.wr_id] += known ? 1 : -1000;
  }
}

bool OnceEach(const std::map<uint64_t, int>& times, uint64_t count) {
  const bool once =
      std::all_of(times.begin(), times.end(), [](const auto& number) { return number.second == 1; });
  return once && times.size() == count;
}

using Break = void (*)(Line&);
struct Blow {
  const char* name;
  Break strike;
};
const Blow kBlows[] = {
    {"sender fails", [](Line& line) { line.cable.left.device().FailQueues(); }},
    {"receiver fails", [](Line& line) { line.cable.right.device().FailQueues(); }},
    {"sender is removed", [](Line& line) { line.cable.left.device().Remove(); }},
    {"receiver is removed", [](Line& line) { line.cable.right.device().Remove(); }},
    {"cable is pulled", [](Line& line) { line.cable.left.device().PlugCable(false); }},
};

TEST_CASE(
    "whatever strikes in flight, each send is given back once, and no frame comes twice or out of turn") {
  Random random(PrintedSeed());
  const Blow& blow = kBlows[GENERATE(range(0, 5))];
  CAPTURE(blow.name);
  ManualClock clock;
  Line line({.patience = absl::Milliseconds(1), .clock = &clock});
  line.PostReceives(Line::kSlots);
  std::map<uint64_t, int> given_back;
  std::vector<uint64_t> got;
  const uint64_t when = Below(random, 200);
  uint64_t sent = 0;
  for (uint64_t turn = 0; turn < 300; ++turn) {
    if (turn == when) blow.strike(line);
    for (uint64_t n = Below(random, 4); n > 0; --n) sent += line.Send(sent) ? 1 : 0;
    if (Below(random, 3) == 0) Count(line.sender.Poll(8), given_back);
    if (Below(random, 3) == 0) line.Receive(got);
    clock.Advance(absl::Microseconds(100));
  }
  for (int i = 0; i < 100; ++i) {
    clock.Advance(absl::Milliseconds(2));
    Count(line.sender.Poll(), given_back);
    line.Receive(got);
  }
  CHECK(OnceEach(given_back, sent));
  CHECK(InOrder(got));
  CHECK(std::adjacent_find(got.begin(), got.end()) == got.end());
  CHECK((got.empty() || got.back() < sent));
}

TEST_CASE("memory whose request was flushed is not written to any more") {
  const Blow& blow = kBlows[GENERATE(1, 3)];
  CAPTURE(blow.name);
  Line line;
  line.PostReceives(16);
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(line.Send(i));
  blow.strike(line);
  for (const ibv_wc& done : line.receiver.Poll()) {
    std::fill_n(line.receiver.slot(done.wr_id), RawPair::kSlot, uint8_t{0x5a});
  }
  for (uint64_t i = 0; i < 16; ++i) REQUIRE(line.Send(i));
  (void)line.receiver.Poll();
  const uint8_t* const begin = line.receiver.slot(0);
  CHECK(std::all_of(begin, begin + 16 * RawPair::kSlot, [](uint8_t byte) { return byte == 0x5a; }));
}

}  // namespace
}  // namespace sluice
