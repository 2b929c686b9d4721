// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_NIC_H_
#define SLUICE_NIC_NIC_H_

// A port to somewhere: a network card, a kernel interface, a guest, a capture file, or the model of a card.
//
//   open (of the backend) ──▶ Start(queues) ──▶ rx(i), tx(i) carry traffic ──▶ Stop() ──▶ Start again, or end
//
// Each backend has one header with an options struct and an open function: model_nic.h, xdp_nic.h,
// capture_nic.h. Opening fails with stage, device, capability, errno and remedy (see status.h). A capability
// is asked for by capabilities(), never tried out.
//
// Threads: the control calls below, one thread at a time per Nic, also while other threads poll its queues,
//   except where said. link(), drops() and modes() from any thread.
// Invariants (each backend passes tests/nic/conformance): packets sent and refused add up; Stop returns every
//   packet to its pool; Start and Stop leave no descriptor, mapping, affinity, signal mask or output behind.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/flow/rule.h"
#include "sluice/nic/link_state.h"
#include "sluice/nic/mode.h"
#include "sluice/nic/queue.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/rss.h"

namespace sluice {

// What the device can do by itself. What a packet asks for on send (Packet::offload) and the device does not,
// the transmit queue does in software, with the same bytes: no request is refused for the want of a capability.
// Whatever else is missing is done in software by the layer that needs it, or refused with this name.
struct Capabilities {
  uint16_t max_rx_queues = 1;
  uint16_t max_tx_queues = 1;
  uint32_t max_ring_size = 0;
  uint32_t max_frame = 0;            // bytes, Ethernet header included, FCS not
  uint32_t max_rules = 0;            // steering rules; 0 = none
  bool rule_counters = false;        // QueryRule, of rules that count
  uint32_t rss_table_size = 0;       // entries; 0 = no RSS
  bool rss_update = false;           // SetRss works while running
  bool vlan_strip = false;           // on receive
  bool vlan_insert = false;          // on send
  bool receive_l3_checksum = false;  // verdicts in Packet::l3_checksum
  bool receive_l4_checksum = false;
  bool send_l3_checksum = false;  // fills on request
  bool send_l4_checksum = false;
  bool segmentation = false;  // cuts frames on request (OffloadRequest::segment), in tunnels too
  bool coalescing = false;    // joins packets of a flow on receive (Packet::coalesced_segments)
  bool fragments = false;     // sends packets of several pieces without joining them
  bool timestamps = false;    // stamps arrivals
  bool sleeps = false;        // RxQueue::Arm and fd work
};

struct QueueOptions {
  uint16_t rx_queues = 1;
  uint16_t tx_queues = 1;
  uint32_t rx_ring = 1024;     // packets a queue, a power of two
  uint32_t tx_ring = 1024;     // likewise
  PacketPool* pool = nullptr;  // where received packets come from; outlives the Nic. Required
  OwnerId owner = kNobody;     // who is charged for buffers that arrive here
  PortId port{};               // what arrivals carry in Packet::ingress_port
};

struct NicEvent {
  // kRemoved: the device is gone for good. Told once; what is left to do is to stop and destroy the Nic.
  enum class Kind : uint8_t { kLinkUp, kLinkDown, kRemoved, kQueueError };
  Kind kind = Kind::kLinkDown;
  QueueId queue{};     // of kQueueError
  std::string detail;  // for people
};

class SLUICE_EXPORT Nic {
 public:
  virtual ~Nic() = default;

  // What it is. The same for the life of the Nic.
  virtual const std::string& name() const = 0;  // "xdp veth0"
  virtual MacAddress mac() const = 0;
  virtual NodeId node() const = 0;
  virtual const Capabilities& capabilities() const = 0;

  // Makes the queues and lets traffic in. Refuses (kInvalidArgument, kResourceExhausted, kFailedPrecondition
  // when running), and has then changed nothing.
  virtual absl::Status Start(const QueueOptions& queues) = 0;
  // Takes the queues down; their packets return to their pools, those not sent counted as kStopped. Nobody
  // may be polling. Harmless when stopped.
  virtual absl::Status Stop() = 0;
  virtual bool running() const = 0;

  // Queues of a running Nic; `id` below the number started. Valid until Stop.
  virtual RxQueue& rx(QueueId id) = 0;
  virtual TxQueue& tx(QueueId id) = 0;
  virtual uint16_t rx_count() const = 0;  // 0 when stopped
  virtual uint16_t tx_count() const = 0;

  // Steering of arrivals, while running, until Stop. A rule holds for all that is received by calls that
  // start after it was installed. All or nothing; kUnimplemented names the capability that is missing,
  // kNotFound an id that is not, or no longer, in force: ids are not used again. QueryRule is for rules that count.
  virtual absl::StatusOr<RuleId> InstallRule(const Rule& rule) = 0;
  virtual absl::Status UpdateRule(RuleId id, const RuleActions& actions) = 0;
  virtual absl::Status RemoveRule(RuleId id) = 0;
  virtual absl::StatusOr<RuleStats> QueryRule(RuleId id) const = 0;
  virtual absl::Status SetRss(const RssConfig& rss) = 0;

  virtual LinkState link() const = 0;
  virtual std::vector<ModeInForce> modes() const = 0;
  // What was agreed on with the other end, as the specification of that names it: "CSUM MRG_RXBUF ...". Empty where nothing
  // is, or nobody there. Any thread.
  virtual std::string feature_names() const { return {}; }
  // Sum over the queues, and what was dropped before any queue.
  virtual DropCounts drops() const = 0;

  // Readable (EPOLLIN) when TakeEvents may have something; -1 when stopped, or when this Nic never has any.
  virtual int event_fd() const = 0;
  virtual std::vector<NicEvent> TakeEvents() = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_NIC_H_
