// SPDX-License-Identifier: Apache-2.0
// What a device can do: as it says itself, and where it does not say, by a trial.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/device_internal.h"
#include "nic/verbs/flow_spec_internal.h"
#include "nic/verbs/places_internal.h"
#include "nic/verbs/queue_pair_internal.h"
#include "nic/verbs/spread_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/rss.h"

namespace sluice {
namespace {

constexpr uint32_t kFrameOverMtu = 14 + 4;  // Ethernet header and one VLAN tag
constexpr uint16_t kMostQueues = 64;        // of each kind
constexpr uint32_t kMostRing = 32768;
constexpr uint32_t kMostRules = 65535;  // as many as there are priorities: nothing says how many a card holds
constexpr uint64_t kLength = IBV_WC_EX_WITH_BYTE_LEN;

uint32_t AtLeastZero(int count) { return static_cast<uint32_t>(std::max(count, 0)); }

uint16_t QueuesOf(const ibv_device_attr& attr) {
  const uint32_t pairs = AtLeastZero(std::min(attr.max_qp, attr.max_cq)) / 2;
  return static_cast<uint16_t>(std::clamp<uint32_t>(pairs, 1, kMostQueues));
}

std::string Failure(const char* call, int error) { return absl::StrCat(call, ": ", ErrnoText(error)); }

// A queue pair that nothing is done with, for trials.
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
int Try(ibv_qp& pair, uint8_t port, const Rule& rule) {
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

}  // namespace

void VerbsPort::Note(std::string name, std::string missing, std::string detail) {
  const bool found = missing.empty();
  described_.push_back(
      {.name = std::move(name), .found = found, .detail = found ? std::move(detail) : std::move(missing)});
}

void VerbsPort::Describe(const ibv_device_attr_ex& attr) {
  DescribeSizes(attr.orig_attr);
  const bool sums = (attr.raw_packet_caps & IBV_RAW_PACKET_CAP_IP_CSUM) != 0;
  able_.send_l4_checksum = able_.receive_l3_checksum = able_.receive_l4_checksum = sums;
  Note("checksums", sums ? "" : "raw_packet_caps has no IP_CSUM", "of TCP and UDP, outside of tunnels");
  Note("fragments", able_.fragments ? "" : "max_sge is 1", absl::StrCat("up to ", max_pieces_, " pieces"));

  DescribeFrames(attr);

  const VerbsPtr<ibv_comp_channel> channel(ibv_create_comp_channel(context_));
  able_.sleeps = channel != nullptr;
  Note("sleep", able_.sleeps ? "" : Failure("ibv_create_comp_channel", errno), "completion channels");

  ibv_counters_init_attr init{};
  const VerbsPtr<ibv_counters> counters(ibv_create_counters(context_, &init));
  able_.rule_counters = counters != nullptr;
  Note("rule counters", able_.rule_counters ? "" : Failure("ibv_create_counters", errno));
}

void VerbsPort::DescribeSizes(const ibv_device_attr& attr) {
  able_.max_rx_queues = able_.max_tx_queues = QueuesOf(attr);
  able_.max_ring_size =
      std::bit_floor(std::min({AtLeastZero(attr.max_qp_wr), AtLeastZero(attr.max_cqe), kMostRing}));
  able_.max_frame = mtu_ + kFrameOverMtu;
  able_.max_rules = kMostRules;
  max_pieces_ = std::max(AtLeastZero(attr.max_sge), uint32_t{1});
  able_.fragments = max_pieces_ > 1;
}

// What the card does to frames, beside their checksums.
void VerbsPort::DescribeFrames(const ibv_device_attr_ex& attr) {
  constexpr uint32_t kRawPackets = 1u << IBV_QPT_RAW_PACKET;
  const auto missing = [](bool found, const char* why) { return std::string(found ? "" : why); };
  const bool cuts = (attr.tso_caps.supported_qpts & kRawPackets) != 0;
  if (cuts && able_.send_l4_checksum)
    max_segmented_ = attr.tso_caps.max_tso;  // segments have sums of their own
  Note("segmentation",
       missing(max_segmented_ > 0, cuts ? "there are no checksums" : "tso_caps has no raw packets"),
       absl::StrCat("of TCP, outside of tunnels, up to ", max_segmented_, " bytes"));
  strips_ = (attr.raw_packet_caps & IBV_RAW_PACKET_CAP_CVLAN_STRIPPING) != 0;
  Note("VLAN stripping", missing(strips_, "raw_packet_caps has no CVLAN_STRIPPING"));
  keeps_fcs_ = (attr.raw_packet_caps & IBV_RAW_PACKET_CAP_SCATTER_FCS) != 0;
  Note("frame check sequences", missing(keeps_fcs_, "raw_packet_caps has no SCATTER_FCS"));
  const ibv_packet_pacing_caps& pacing = attr.packet_pacing_caps;
  if ((pacing.supported_qpts & kRawPackets) != 0) max_rate_ = pacing.qp_rate_limit_max;
  Note("pacing", missing(max_rate_ > 0, "packet_pacing_caps has no raw packets"),
       absl::StrCat("up to ", max_rate_, " kbit/s"));
  stamp_mask_ = attr.completion_timestamp_mask;
  stamps_a_millisecond_ = attr.hca_core_clock;
}

void VerbsPort::DescribeSpread(const ibv_device_attr_ex& attr) {
  constexpr uint32_t kRawPackets = 1u << IBV_QPT_RAW_PACKET;
  const ibv_rss_caps& caps = attr.rss_caps;
  const uint32_t entries =
      std::bit_floor(std::min<uint32_t>(caps.max_rwq_indirection_table_size, RssConfig::kMaxTable));
  const bool toeplitz = (caps.rx_hash_function & IBV_RX_HASH_FUNC_TOEPLITZ) != 0;
  if (attr.max_wq_type_rq == 0) return Note("RSS", "max_wq_type_rq is 0");
  if ((caps.supported_qpts & kRawPackets) == 0 || !toeplitz || entries == 0) {
    return Note("RSS", "rss_caps has no Toeplitz hash for raw packets");
  }
  if (!VerbsPlaces(priorities_).doubled()) {
    return Note("RSS", absl::StrCat("rules of ", priorities_, " priorities cannot tell the kinds of frames"));
  }
  const VerbsPtr<ibv_cq> completions(ibv_create_cq(context_, 1, nullptr, nullptr, 0));
  const int error = completions == nullptr ? errno : TrySpread(*completions);
  if (error != 0) return Note("RSS", Failure("a work queue, and a queue pair that spreads", error));
  able_.rss_table_size = entries;
  able_.rss_update = true;
  able_.max_rx_queues =
      static_cast<uint16_t>(std::min({uint32_t{able_.max_rx_queues}, attr.max_wq_type_rq, entries}));
  Note("RSS", "", absl::StrCat("tables of up to ", entries, " entries"));
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

void VerbsPort::TryCompletions() {
  const auto tell = [this](uint64_t field, const char* name) {
    ibv_cq_ex* const queue = MakeExtendedQueue(context_, 1, nullptr, kLength | field);
    Note(name, queue != nullptr ? "" : Failure("ibv_create_cq_ex", errno));
    if (queue != nullptr && ibv_destroy_cq(ibv_cq_ex_to_cq(queue)) == 0) told_ |= kLength | field;
  };
  tell(IBV_WC_EX_WITH_FLOW_TAG, "marks");
  tell(IBV_WC_EX_WITH_CVLAN, "stripped tags");
  tell(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP, "timestamps");
  if (stamp_mask_ == 0 || stamps_a_millisecond_ == 0) told_ &= ~uint64_t{IBV_WC_EX_WITH_COMPLETION_TIMESTAMP};
  if (!strips_) told_ &= ~uint64_t{IBV_WC_EX_WITH_CVLAN};
  able_.vlan_strip = (told_ & IBV_WC_EX_WITH_CVLAN) != 0;
  able_.timestamps = (told_ & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP) != 0;
}

void VerbsPort::TryExtendedSend(ibv_cq& completions) {
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  init.send_ops_flags = IBV_QP_EX_WITH_SEND;
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.pd = domain_.get();
  init.send_cq = init.recv_cq = &completions;
  init.cap.max_send_wr = init.cap.max_send_sge = 1;
  const VerbsPtr<ibv_qp> pair(ibv_create_qp_ex(context_, &init));
  extended_send_ = pair != nullptr;
  Note("extended send calls", extended_send_ ? "" : Failure("ibv_create_qp_ex", errno));
}

// Whether there are raw packet queue pairs, nobody says: one is made.
absl::Status VerbsPort::TryQueuePair() {
  const Scratch scratch(*this);
  if (scratch.completions == nullptr)
    return Failed(errno, "open", "", "no completion queue", "close other RDMA programs");
  if (scratch.pair == nullptr) return NoRawPackets(errno);
  TryExtendedSend(*scratch.completions);
  TryRules(*scratch.pair);
  TryBlocking(*scratch.completions);
  return absl::OkStatus();
}

void VerbsPort::TryBlocking(ibv_cq& completions) {
  blocks_own_multicast_ = true;
  ibv_qp_init_attr_ex init{};
  init.send_cq = init.recv_cq = &completions;
  init.cap.max_recv_wr = init.cap.max_recv_sge = 1;
  blocks_own_multicast_ = MakeReceivingPair(*this, init) != nullptr;
  Note("own multicast kept out",
       blocks_own_multicast_ ? "" : Failure("IBV_QP_CREATE_BLOCK_SELF_MCAST_LB", errno));
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

// Verbs have room for 65536 priorities; cards have as few as 16.
void VerbsPort::TryRules(ibv_qp& pair) {
  for (const Trial& trial : Trials()) {
    const int error = Try(pair, port_, trial.rule);
    Note(trial.name, error == 0 ? "" : Failure("ibv_create_flow", error));
  }
  for (const uint32_t lowest : {65535, 4095, 255, 15, 7, 3, 1}) {
    Rule rule = OnTrial();
    rule.priority = lowest;
    if (Try(pair, port_, rule) != 0) continue;
    priorities_ = lowest + 1;
    break;
  }
}

}  // namespace sluice
