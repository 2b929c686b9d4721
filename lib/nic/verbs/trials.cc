// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cerrno>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nic/verbs/device_internal.h"
#include "nic/verbs/flow_spec_internal.h"
#include "nic/verbs/queue_pair_internal.h"
#include "nic/verbs/receiver_internal.h"
#include "nic/verbs/spread_internal.h"
#include "nic/verbs/trials_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint64_t kLength = IBV_WC_EX_WITH_BYTE_LEN;
constexpr int kFlushSteps = 20;  // to wait for what a queue pair gives back
constexpr absl::Duration kFlushStep = absl::Milliseconds(1);

// What a device answers that cannot do a thing. All else may be different the next time.
bool Lasts(int error) {
  return error == 0 || error == EOPNOTSUPP || error == EINVAL || error == ENOSYS || error == EPROTONOSUPPORT;
}

// A queue pair that nothing is done with.
struct Scratch {
  explicit Scratch(const VerbsPort& device)
      : completions(ibv_create_cq(device.context(), 1, nullptr, nullptr, 0)) {
    if (completions == nullptr) return;
    ibv_qp_init_attr init{};
    init.send_cq = init.recv_cq = completions.get();
    init.cap.max_send_wr = init.cap.max_recv_wr = init.cap.max_send_sge = init.cap.max_recv_sge = 1;
    init.qp_type = IBV_QPT_RAW_PACKET;
    pair.reset(ibv_create_qp(device.domain(), &init));
  }

  VerbsPtr<ibv_cq> completions;
  VerbsPtr<ibv_qp> pair;
};

// For frames to the address of all zeros, which nobody sends: a rule on trial takes nothing from anybody.
Rule OnTrial() { return {.match = {.outer = {.ethernet = EthernetMatch{.destination = MacAddress()}}}}; }

// 0 when the card takes the rule, which it then gives back; else the errno.
int Put(ibv_qp& pair, uint8_t port, const Rule& rule) {
  absl::StatusOr<FlowSpec> spec = FlowSpec::Of(rule, port);
  if (!spec.ok()) return EOPNOTSUPP;
  const VerbsPtr<ibv_flow> flow(ibv_create_flow(&pair, spec->attr()));
  return flow != nullptr ? 0 : errno;
}

struct Trial {
  const char* name;
  Rule rule;
};

std::vector<Trial> Trials() {
  const auto by = [](auto change) {
    Rule rule = OnTrial();
    change(rule);
    return rule;
  };
  return {
      {"rules", OnTrial()},
      {"rules by VLAN", by([](Rule& r) { r.match.outer.vlan = VlanMatch{.vid = 1}; })},
      {"rules by IPv4", by([](Rule& r) { r.match.outer.ipv4 = Ipv4Match{.protocol = uint8_t{253}}; })},
      {"rules by IPv6", by([](Rule& r) { r.match.outer.ipv6 = Ipv6Match{.protocol = uint8_t{253}}; })},
      {"rules by TCP port", by([](Rule& r) {
         r.match.outer.ipv4 = Ipv4Match();
         r.match.outer.tcp = PortsMatch{.destination = uint16_t{1}};
       })},
      {"rules by VXLAN", by([](Rule& r) {
         r.match.outer.ipv4 = Ipv4Match();
         r.match.outer.udp = PortsMatch{.destination = uint16_t{4789}};
         r.match.vxlan = VxlanMatch{.vni = 1u};
       })},
      {"rules by GRE", by([](Rule& r) {
         r.match.outer.ipv4 = Ipv4Match();
         r.match.gre = GreMatch{.protocol = uint16_t{0x6558}};
       })},
      {"rules by inner headers", by([](Rule& r) {
         r.match.outer.ipv4 = Ipv4Match();
         r.match.outer.udp = PortsMatch{.destination = uint16_t{4789}};
         r.match.vxlan = VxlanMatch{.vni = 1u};
         r.match.inner.ethernet = EthernetMatch{.destination = MacAddress()};
       })},
      {"rules that drop", by([](Rule& r) { r.actions.drop = true; })},
      {"rules that mark", by([](Rule& r) { r.actions.mark = 1; })},
      {"rules that pass on", by([](Rule& r) { r.actions.pass_on = true; })},
      {"rules of egress", by([](Rule& r) { r.direction = RuleDirection::kEgress; })},
  };
}

uint64_t TakePlainly(ibv_cq& queue) {
  ibv_wc done{};
  return ibv_poll_cq(&queue, 1, &done) == 1 ? done.wr_id : 0;
}

uint64_t TakeByField(ibv_cq_ex& queue) {
  ibv_poll_cq_attr attr{};
  if (ibv_start_poll(&queue, &attr) != 0) return 0;
  const uint64_t number = queue.wr_id;
  ibv_end_poll(&queue);
  return number;
}

// The number of the next request that is given back; 0 when none is in some time.
template <typename Take>
uint64_t Await(Take take) {
  for (int step = 0; step < kFlushSteps; ++step) {
    if (const uint64_t number = take(); number != 0) return number;
    absl::SleepFor(kFlushStep);
  }
  return 0;
}

// Posts requests 1 and 2, with room for nothing, and has them given back unused. Returns an errno.
int Flush(const VerbsPort& device, ibv_qp& pair) {
  if (const int error = MakeReady(device, pair, false); error != 0) return error;
  std::array<ibv_recv_wr, 2> requests{};
  requests[0] = {.wr_id = 1, .next = &requests[1], .sg_list = nullptr, .num_sge = 0};
  requests[1] = {.wr_id = 2, .next = nullptr, .sg_list = nullptr, .num_sge = 0};
  ibv_recv_wr* bad = nullptr;
  if (const int error = ibv_post_recv(&pair, requests.data(), &bad); error != 0) return error;
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_ERR;
  return ibv_modify_qp(&pair, &attr, IBV_QP_STATE);
}

// Of the process: cards have no memory of their own for what was tried on them.
struct Remembered {
  std::mutex mutex;
  std::map<VerbsTrialKey, VerbsTrials> trials;
};
Remembered& All() {
  static Remembered all;
  return all;
}

}  // namespace

std::string ReasonOf(const absl::Status& status) {
  if (status.ok()) return "";
  const Problem why = *ProblemOf(status);
  return why.error_number == 0 ? why.what : absl::StrCat(why.what, ": ", ErrnoText(why.error_number));
}

std::string CallFailed(const char* call, int error) { return absl::StrCat(call, ": ", ErrnoText(error)); }

VerbsTrialKey TrialKey(const ibv_context& context, const ibv_device_attr_ex& attr, uint8_t port) {
  const std::string said(reinterpret_cast<const char*>(&attr), sizeof(attr));
  return absl::StrCat(ibv_get_device_name(context.device), "/", port, "\n", said);
}

std::optional<VerbsTrials> RecallTrials(const VerbsTrialKey& key) {
  Remembered& all = All();
  const std::lock_guard lock(all.mutex);
  const auto at = all.trials.find(key);
  if (at == all.trials.end()) return std::nullopt;
  return at->second;
}

void RememberTrials(const VerbsTrialKey& key, const VerbsTrials& trials) {
  Remembered& all = All();
  const std::lock_guard lock(all.mutex);
  all.trials.insert_or_assign(key, trials);
}

void VerbsPort::NoteTrial(std::string name, const char* call, int error) {
  trials_.lasting = trials_.lasting && Lasts(error);
  trials_.described.push_back(
      {.name = std::move(name), .found = error == 0, .detail = error == 0 ? "" : CallFailed(call, error)});
}

// Whether there are raw packet queue pairs, and this process may have them, nobody says: one is made, each time.
absl::Status VerbsPort::Try(const ibv_device_attr_ex& attr) {
  const Scratch scratch(*this);
  if (scratch.completions == nullptr)
    return Failed(errno, "open", "", "no completion queue", "close other RDMA programs");
  if (scratch.pair == nullptr) return NoRawPackets(errno);
  const VerbsTrialKey key = TrialKey(*context_, attr, port_);
  if (std::optional<VerbsTrials> known = RecallTrials(key)) {
    trials_ = *std::move(known);
  } else {
    TryAll(*scratch.completions, *scratch.pair);
    if (trials_.lasting) RememberTrials(key, trials_);
  }
  described_.insert(described_.end(), trials_.described.begin(), trials_.described.end());
  able_.vlan_strip = (told() & IBV_WC_EX_WITH_CVLAN) != 0;
  able_.timestamps = (told() & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP) != 0;
  return absl::OkStatus();
}

void VerbsPort::TryAll(ibv_cq& completions, ibv_qp& pair) {
  TryCompletions();
  const int no_extended_send = TryExtendedSend(completions);
  trials_.extended_send = no_extended_send == 0;
  NoteTrial("extended send calls", "ibv_create_qp_ex", no_extended_send);
  TryRules(pair);
  TryPriorities(pair);
  NoteTrial("own multicast kept out", "IBV_QP_CREATE_BLOCK_SELF_MCAST_LB", TryBlocking(completions));
  trials_.no_spread = TrySpread(completions);
  trials_.lasting = trials_.lasting && Lasts(trials_.no_spread);
}

void VerbsPort::TryCompletions() {
  uint64_t& told = trials_.told;
  const auto tell = [&](uint64_t field, const char* name) {
    ibv_cq_ex* const queue = MakeExtendedQueue(context_, 1, nullptr, kLength | field);
    NoteTrial(name, "ibv_create_cq_ex", queue != nullptr ? 0 : errno);
    if (queue != nullptr && ibv_destroy_cq(ibv_cq_ex_to_cq(queue)) == 0) told |= kLength | field;
  };
  tell(IBV_WC_EX_WITH_FLOW_TAG, "marks");
  tell(IBV_WC_EX_WITH_CVLAN, "stripped tags");
  tell(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP, "timestamps");
  if (stamp_mask_ == 0 || stamps_a_millisecond_ == 0) told &= ~uint64_t{IBV_WC_EX_WITH_COMPLETION_TIMESTAMP};
  if (!strips_) told &= ~uint64_t{IBV_WC_EX_WITH_CVLAN};
  const int no_plain_polls = TryPlainPolls();
  trials_.polls_plainly = no_plain_polls == 0;
  NoteTrial("plain polls of extended queues", "ibv_poll_cq", no_plain_polls);
}

// No manual page says that both ways of polling may be used on one queue. Each is to give back one of two requests, in
// their order. Returns an errno.
int VerbsPort::TryPlainPolls() const {
  ibv_cq_ex* const queue = MakeExtendedQueue(context_, 2, nullptr, kLength);
  if (queue == nullptr) return errno;
  const VerbsPtr<ibv_cq> completions(ibv_cq_ex_to_cq(queue));
  ibv_qp_init_attr_ex init{};
  init.send_cq = init.recv_cq = completions.get();
  init.cap.max_recv_wr = 2;
  init.cap.max_recv_sge = 1;
  const VerbsPtr<ibv_qp> pair = MakeReceivingPair(*this, init);
  if (pair == nullptr) return errno;
  if (const int error = Flush(*this, *pair); error != 0) return error;
  const bool both = Await([&] { return TakePlainly(*completions); }) == 1 &&
                    Await([&] { return TakeByField(*queue); }) == 2;
  return both ? 0 : EOPNOTSUPP;
}

int VerbsPort::TryExtendedSend(ibv_cq& completions) const {
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  init.send_ops_flags = IBV_QP_EX_WITH_SEND;
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.pd = domain_.get();
  init.send_cq = init.recv_cq = &completions;
  init.cap.max_send_wr = init.cap.max_send_sge = 1;
  const VerbsPtr<ibv_qp> pair(ibv_create_qp_ex(context_, &init));
  return pair != nullptr ? 0 : errno;
}

void VerbsPort::TryRules(ibv_qp& pair) {
  for (const Trial& trial : Trials()) NoteTrial(trial.name, "ibv_create_flow", Put(pair, port_, trial.rule));
}

// Verbs have room for 65536 priorities; cards have as few as 16.
void VerbsPort::TryPriorities(ibv_qp& pair) {
  for (const uint32_t lowest : {65535, 4095, 255, 15, 7, 3, 1}) {
    Rule rule = OnTrial();
    rule.priority = lowest;
    const int error = Put(pair, port_, rule);
    trials_.lasting = trials_.lasting && Lasts(error);
    if (error != 0) continue;
    trials_.priorities = lowest + 1;
    return;
  }
}

int VerbsPort::TryBlocking(ibv_cq& completions) {
  trials_.blocks_own_multicast = true;  // while it is tried
  ibv_qp_init_attr_ex init{};
  init.send_cq = init.recv_cq = &completions;
  init.cap.max_recv_wr = init.cap.max_recv_sge = 1;
  const VerbsPtr<ibv_qp> pair = MakeReceivingPair(*this, init);
  const int error = pair != nullptr ? 0 : errno;
  trials_.blocks_own_multicast = error == 0;
  return error;
}

int VerbsPort::TrySpread(ibv_cq& completions) const {
  ibv_wq_init_attr init{};
  init.wq_type = IBV_WQT_RQ;
  init.max_wr = init.max_sge = 1;
  init.pd = domain_.get();
  init.cq = &completions;
  const VerbsPtr<ibv_wq> work(ibv_create_wq(context_, &init));
  if (work == nullptr) return errno;
  const VerbsPtr<ibv_rwq_ind_table> table = MakeSpreadTable(*this, {work.get()});
  if (table == nullptr) return errno;
  const VerbsPtr<ibv_qp> pair = MakeSpreadingPair(*this, *table, {.type = RssType::kIpv4Udp});
  return pair != nullptr ? 0 : errno;
}

// Not remembered: what came of it depends on the library, too. Returns why there is none; empty: there is.
std::string VerbsPort::TryDirect(const VerbsNicOptions& options) const {
  VerbsReceiveOptions asked = {.ring = 2, .direct = true};
  asked.compressed = options.compressed_completions != Want::kOff && NoCompression(options).empty();
  if (options.striding != Want::kOff && NoStriding(options).empty()) {
    asked.strides = mlx5_->strides(NoLro(options).empty());
  }
  return ReasonOf(VerbsReceiver::Make(*this, asked).status());
}

// All that stands in the way of a frame, at the lowest priority, and for nobody's address.
absl::Status VerbsPort::TryLro() {
  const absl::StatusOr<VerbsSender> sender = MakeSender(*this, {.ring = 1});
  if (!sender.ok()) return sender.status();
  if (const std::string wrong = mlx5_->lro().FindDomain(*sender->pair); !wrong.empty()) {
    return ErrorStatus(absl::StatusCode::kUnimplemented, {.what = wrong});
  }
  const absl::StatusOr<VerbsReceiver> receiver =
      VerbsReceiver::Make(*this, {.ring = 2, .direct = true, .strides = mlx5_->strides(true)});
  if (!receiver.ok()) return receiver.status();
  const RssConfig one = *RssConfig::Spread(1).WithTable({QueueId{0}});
  absl::StatusOr<VerbsSpread> spread = VerbsSpread::Make(*this, one, {receiver->work()}, true);
  if (!spread.ok()) return spread.status();
  Rule rule = OnTrial();
  rule.match.outer.ipv4 = Ipv4Match();
  rule.match.outer.tcp = PortsMatch();
  return spread->PutJoining(rule.match, priorities() - 1).status();
}

absl::Status VerbsPort::NoRawPackets(int error) const {
  if (error == EPERM) {
    return Failed(error, "open", "raw packets", "no privilege for raw packet queue pairs",
                  "run with CAP_NET_RAW, or as root");
  }
  return ErrorStatus(absl::StatusCode::kFailedPrecondition,
                     {.device = name_,
                      .stage = "open",
                      .capability = "raw packets",
                      .error_number = error,
                      .what = "the device has no raw packet queue pairs",
                      .remedy = "use its kernel interface, by AF_XDP"});
}

}  // namespace sluice
