// SPDX-License-Identifier: Apache-2.0
// What verbs ports learn of a card by trials at Open: once for each card, and nothing that may be different the next time.
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>

#include "nic/verbs/device_internal.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

// Counts the rules that are put on a device, and the ways in which its driver is polled; both answer as ever, unless told
// otherwise. One context at a time.
class Watched {
 public:
  explicit Watched(ibv_context* context) : more_(*verbs_get_ctx(context)), context_(*context) {
    flows = 0;
    polls = 0;
    refusal = 0;
    create_flow = more_.ibv_create_flow;
    poll_cq = context->ops.poll_cq;
    more_.ibv_create_flow = [](ibv_qp* pair, ibv_flow_attr* attr) -> ibv_flow* {
      ++flows;
      if (refusal == 0) return create_flow(pair, attr);
      errno = refusal;
      return nullptr;
    };
    context->ops.poll_cq = [](ibv_cq* queue, int most, ibv_wc* done) {
      ++polls;
      return blind ? 0 : poll_cq(queue, most, done);
    };
  }
  ~Watched() {
    more_.ibv_create_flow = create_flow;
    context_.ops.poll_cq = poll_cq;
    blind = false;
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  static inline int flows = 0;
  static inline int polls = 0;
  static inline int refusal = 0;     // the errno of rules that are put; 0: none is refused
  static inline bool blind = false;  // a plain poll finds nothing

 private:
  static inline decltype(verbs_context::ibv_create_flow) create_flow = nullptr;
  static inline decltype(ibv_context_ops::poll_cq) poll_cq = nullptr;

  verbs_context& more_;
  ibv_context& context_;
};

std::unique_ptr<VerbsPort> Open(SoftContext& soft) {
  return *VerbsPort::Open({.device = "soft0", .context = soft.context()});
}

using Described = std::vector<std::pair<std::string, std::string>>;
Described DescribedBy(const VerbsPort& port) {
  Described all;
  for (const VerbsCapability& one : port.described()) all.emplace_back(one.name, one.detail);
  return all;
}

TEST_CASE("a card that was tried before is not tried again, and described as then") {
  SoftContext soft({}, MakeNullWire());
  Watched watched(soft.context());
  const auto first = Open(soft);
  CHECK(Watched::flows > 10);
  Watched::flows = 0;
  const auto second = Open(soft);
  CHECK(Watched::flows == 0);
  CHECK(DescribedBy(*second) == DescribedBy(*first));
  CHECK(second->told() == first->told());
  CHECK(second->priorities() == first->priorities());
  CHECK(second->extended_send() == first->extended_send());
  CHECK(second->blocks_own_multicast() == first->blocks_own_multicast());
  CHECK(second->spreads() == first->spreads());
}

TEST_CASE("a port on a card that was tried before carries frames as on one that was not") {
  const auto pool = *PacketPool::Create({.packets = 1024, .huge_pages = HugePages::kOff});
  const QueueOptions queues{.rx_ring = 64, .tx_ring = 64, .pool = pool.get()};
  auto [here, there] = MakeWirePair();
  SoftContext left({}, std::move(here)), right({}, std::move(there));
  (void)Open(left);
  (void)Open(right);
  const auto sender = OpenOn(left, {.device = "soft0"});
  const auto receiver = OpenOn(right, {.device = "soft0"});
  REQUIRE(sender->Start(queues) == absl::OkStatus());
  REQUIRE(receiver->Start(queues) == absl::OkStatus());
  Burst burst, arrived;
  burst.Push(MakePacket(*pool, UdpFrame({})));
  REQUIRE(sender->tx(QueueId{0}).Send(burst) == 1);
  CHECK(receiver->rx(QueueId{0}).Receive(arrived) == 1);
}

TEST_CASE("another card is tried for itself, though it has the name of one that was") {
  {
    SoftContext soft({}, MakeNullWire());
    CHECK(Open(soft)->extended_send());
  }
  SoftContext poorer({.hardware = {.extended_send = false}}, MakeNullWire());
  Watched watched(poorer.context());
  CHECK_FALSE(Open(poorer)->extended_send());
  CHECK(Watched::flows > 10);
}

TEST_CASE("trials count for the device, the port and the abilities that they were made on") {
  SoftContext soft({}, MakeNullWire());
  ibv_device_attr_ex attr{};
  REQUIRE(ibv_query_device_ex(soft.context(), nullptr, &attr) == 0);
  const VerbsTrialKey key = TrialKey(*soft.context(), attr, 1);
  CHECK(TrialKey(*soft.context(), attr, 1) == key);
  CHECK(TrialKey(*soft.context(), attr, 2) != key);
  ibv_device_attr_ex updated = attr;
  updated.orig_attr.fw_ver[0] = '9';
  CHECK(TrialKey(*soft.context(), updated, 1) != key);
  ibv_device_attr_ex exchanged = attr;
  ++exchanged.orig_attr.node_guid;
  CHECK(TrialKey(*soft.context(), exchanged, 1) != key);
  ibv_device_attr_ex less = attr;
  less.raw_packet_caps = 0;
  CHECK(TrialKey(*soft.context(), less, 1) != key);
}

TEST_CASE("a trial that failed for now is made again, one that the card refuses is not") {
  SoftContext soft({}, MakeNullWire());
  Watched watched(soft.context());
  const bool for_good = GENERATE(false, true);
  Watched::refusal = for_good ? EOPNOTSUPP : ENOMEM;
  (void)Open(soft);
  Watched::refusal = Watched::flows = 0;
  (void)Open(soft);
  CHECK((Watched::flows == 0) == for_good);
}

TEST_CASE("an extended queue is polled plainly where the driver showed that it may be, else never") {
  SoftContext soft({}, MakeNullWire());  // from which frames come at any time
  Watched watched(soft.context());
  const bool may_be = GENERATE(true, false);
  Watched::blind = !may_be;
  const auto pool = *PacketPool::Create({.packets = 1024, .huge_pages = HugePages::kOff});
  const auto nic = OpenOn(soft, {.device = "soft0"});
  REQUIRE(nic->Start({.rx_ring = 64, .tx_ring = 64, .pool = pool.get()}) == absl::OkStatus());
  Burst burst;
  Watched::polls = 0;
  CHECK(nic->rx(QueueId{0}).Receive(burst) > 0);
  CHECK((Watched::polls > 0) == may_be);
}

}  // namespace
}  // namespace sluice::testing
