// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTWARE_VERBS_H_
#define SLUICE_NIC_SOFTWARE_VERBS_H_

// A verbs NIC in software, which genuine libibverbs opens: raw packet queue pairs, completion queues, steering and
// offloads of a good Ethernet card, with a Wire where the cable would be.
//
//   program ── ibv_post_send, ibv_poll_cq, ... ──▶ libibverbs ──▶ SoftwareVerbs ═══ Wire ═══ peer
//
//   auto nic = SoftwareVerbs::Create({.name = "soft0"}, std::move(wire));
//   ibv_context* context = ibv_open_device((*nic)->device());
//
// Use it to test a verbs program where there is no such card, and to see what the program does on a poorer one
// (SoftwareVerbsHardware). Programs that are not to be changed find it as a device among others: `sluice-softverbs`
// runs them with libsluice_soft-rdmav34.so, a provider that libibverbs loads. It says nothing about PCIe, doorbells or
// line rate, and has no RC, UC or XRC queue pairs, memory windows or shared receive queues: those answer EOPNOTSUPP.
//
// Work is done by whoever calls: ibv_post_send, ibv_poll_cq and ibv_start_poll each move a bounded number of frames, and
//   none of them ever waits. A request that the wire has no room for stays in the send queue. From the first
//   ibv_req_notify_cq on, a thread of the device does it too, as long as a program may be asleep; the same thread
//   listens on the control socket, where there is one.
// Loss: none while both ends work. Arrivals that no receive queue has room for hold up the wire for up to `patience`, as
//   a card with pause frames does, and so do requests while the peer has not come up; then they are dropped and counted.
//   What no rule matches, or nobody receives, is dropped at once, and so is what arrives still to be segmented.
// The wire is opened with the first queue pair, and closed with the last.
// Threads: any, side by side; one lock per device. The contexts are closed before the device goes.
// Needs libibverbs of rdma-core 36 to 56 in the process.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/drop_reason.h"
#include "sluice/base/export.h"
#include "sluice/nic/faulty_wire.h"
#include "sluice/nic/wire.h"
#include "sluice/packet/mac_address.h"

struct ibv_device;

namespace sluice {

// What the card can do: as much as a good one, unless fields are taken back. Each shows in ibv_query_device_ex, and is
// refused by the call that would use it: EOPNOTSUPP for what there is none of, EINVAL for more than there is.
struct SoftwareVerbsHardware {
  uint32_t max_queue_pairs = 4096;
  uint32_t max_work_requests = 32768;  // of a queue
  uint32_t max_pieces = 30;            // (SGEs) of a request
  uint32_t max_completion_queues = 4096;
  uint32_t max_completions = 1u << 22;  // of a queue
  uint32_t max_regions = 1u << 20;
  uint32_t max_inline = 512;  // bytes
  uint32_t max_rules = 65536;
  uint32_t max_work_queues = 4096;   // receive queues to spread over; 0 = none, and no RSS
  uint32_t max_spread_table = 2048;  // a power of two
  bool send_checksums = true;
  bool receive_checksums = true;
  bool timestamps = true;
  bool extended_send = true;        // ibv_wr_start and its like
  uint32_t max_rate = 100'000'000;  // kbit/s that a send queue can be limited to; 0 = not at all
  uint64_t device_memory = 131072;  // bytes; 0 = none
  bool vlan_strip = true;
  bool scatter_fcs = true;
  uint32_t max_segmented = 262144;  // payload bytes of a send that is cut into frames (TSO); 0 = none

  // The least on which a verbs program with raw packets can be expected to start.
  static constexpr SoftwareVerbsHardware Poor() {
    return {.max_queue_pairs = 16,
            .max_work_requests = 256,
            .max_pieces = 1,
            .max_completion_queues = 16,
            .max_completions = 1024,
            .max_regions = 64,
            .max_inline = 0,
            .max_rules = 8,
            .max_work_queues = 0,
            .max_spread_table = 0,
            .send_checksums = false,
            .receive_checksums = false,
            .timestamps = false,
            .extended_send = false,
            .max_rate = 0,
            .device_memory = 0,
            .vlan_strip = false,
            .scatter_fcs = false,
            .max_segmented = 0};
  }
};

// What goes wrong all the time; what goes wrong once has calls of its own, in SoftwareVerbs.
struct SoftwareVerbsFaults {
  FaultPlan send{};  // of frames on their way from the port to the wire
  FaultPlan receive{};
  uint64_t seed = 1;                     // of their chances
  absl::Duration completions_late = {};  // each is seen so much later than it came, on the Clock
  // A completion queue that has no room is overrun, as on a card; otherwise requests wait until it has.
  bool overrun = false;
};

struct SoftwareVerbsOptions {
  std::string name = "soft0";  // as in ibv_devices
  MacAddress mac{};            // of the port: told to others, not compared. All zero: 02:00:00:00:00:01
  uint32_t mtu = 1500;         // of IP packets, 256 to 65000: frames have up to 22 bytes more, for two tags
  SoftwareVerbsHardware hardware{};
  absl::Duration patience = absl::Seconds(2);  // zero: never wait, as a card without pause frames
  bool multicast_loopback =
      true;                      // multicast that is sent reaches this port's own rules too, as on most cards
  const Clock* clock = nullptr;  // outlives the device. Null = Clock::Monotonic()
  SoftwareVerbsFaults faults{};
  std::string control =
      {};  // path of a socket on which the device takes orders (software_verbs_config.h); empty = none
};

struct SoftwareVerbsStats {
  uint64_t sent_frames = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_frames = 0;  // copied to a receive queue; once for each queue that gets it
  uint64_t received_bytes = 0;
  DropCounts drops{};  // by the device, its faults and its end of the wire
};

class SLUICE_EXPORT SoftwareVerbs {
 public:
  // kInvalidArgument for an option out of range; kUnimplemented without a libibverbs that fits; for the control socket as
  // the system says, and kUnavailable when somebody listens there.
  static absl::StatusOr<std::unique_ptr<SoftwareVerbs>> Create(const SoftwareVerbsOptions& options,
                                                               std::unique_ptr<Wire> wire);

  virtual ~SoftwareVerbs() = default;

  // For ibv_open_device and ibv_get_device_name; owned by this object.
  virtual ibv_device* device() = 0;

  // Pulls the cable, or plugs it in again: the port is down, programs are told (ibv_get_async_event), and frames wait as
  // for a peer that is not there. Any thread.
  virtual void PlugCable(bool plugged) = 0;

  // Faults from now on, in place of those before. Any thread, as all that follows.
  virtual void SetFaults(const SoftwareVerbsFaults& faults) = 0;
  // A queue pair or a work queue, by its number, or all of them, fail by themselves: each goes to the error state, what
  // was posted is flushed, and the program is told (IBV_EVENT_QP_FATAL, IBV_EVENT_WQ_FATAL). How many did: those that
  // are in reset, or have failed, do not.
  virtual size_t FailQueue(uint32_t number) = 0;
  virtual size_t FailQueues() = 0;
  // A completion queue, by its ibv_cq::handle, loses what comes from now on. Programs are told (IBV_EVENT_CQ_ERR), and
  // the queues that complete there fail. False when there is none, or it was overrun before.
  virtual bool OverrunCompletions(uint32_t handle) = 0;
  // The card is pulled out (IBV_EVENT_DEVICE_FATAL): what was posted is flushed, what is posted or made after that
  // answers EIO, and nothing is sent or received any more. What there is can still be polled and destroyed.
  virtual void Remove() = 0;

  virtual SoftwareVerbsStats stats() const = 0;  // any thread
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTWARE_VERBS_H_
