// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_NIC_H_
#define SLUICE_NIC_VERBS_NIC_H_

// A port of an RDMA NIC as a Nic, through libibverbs: raw Ethernet frames between the card and the pool's buffers,
// without the kernel, which keeps what is not taken.
//
//   wire ──▶ rules ──▶ queue pair ──▶ RxQueue 0, 1 ...       pool's region, registered once, is where the card
//              │ (nobody's)                                  reads and writes
//              └─────▶ kernel's interface
//   wire ◀──────────── queue pair ◀── TxQueue 0, 1 ...
//
//   absl::StatusOr<std::unique_ptr<VerbsNic>> nic = OpenVerbsNic({.device = "rdma:mlx5_0/1"});
//   absl::Status started = (*nic)->Start({.rx_queues = 2, .tx_queues = 2, .pool = &pool});
//
// Use it for uplinks on cards with raw packet queue pairs. Do not use it where the kernel must see every frame; nor
// with VerbsTake::kAll for the interface that carries your own login.
//
// Capabilities: those that ibv_query_device_ex(3) reports, and for the rest what a trial at Open showed; described()
//   says of each whether it was found, or what is missing. What trials showed is kept for the process, and void for a
//   card that reports other GUIDs, another firmware, or any other ability; a failure that may pass is not kept.
// mlx5 cards: described() also says what their library libmlx5 tells beyond verbs, and what of it is used: lag_port, and
//   tunnel offloads, without which their queue pairs do not spread by headers in tunnels; and, where the options ask for
//   them, direct_receive, compressed_completions, striding and lro. None of this has met a card, only a library and
//   rings that stand in for one. Without direct_receive, their checksum verdicts come with ports of one
//   receive queue only: of work queues, over which frames are spread, libmlx5 (44 and 64 were looked at) tells none.
// Queues: what no rule takes is spread over all queues by RSS, where the card has work queues and Toeplitz hashes
//   (ibv_create_rwq_ind_table(3)); elsewhere it comes to queue 0. Frames that are not hashed go to the queue of bucket 0.
//   SetRss and UpdateRule put the new above the old, or below it, and then take the old away: each frame meets exactly
//   one. The hash itself is not told, for verbs have no word for it: what completions can be asked for (IBV_WC_EX_WITH_...,
//   ibv_create_cq_ex(3)) leaves it out, and ibv_cq_ex has no call that reads it. Packet::rss_type stays kNone, but for
//   direct_receive; who needs a hash computes it (packet/rss.h). Some cards make theirs alike for both directions of a flow.
// Rules: a RuleMatch in the card's words (ibv_create_flow(3)). Which headers and masks a card takes, nobody knows
//   before it is asked: described() tells what came of some trials, and InstallRule asks, and refuses with the card's
//   errno. A rule that spreads names ipv4 or ipv6, of the tunnel where it names one: a queue pair hashes one kind. A card
//   with n priorities has (n - 8) / 2 + 1 for rules, for each rule takes two, and what comes in without rules six.
// Offloads: checksums of TCP and UDP, and cutting of TCP, outside of tunnels, and packets in up to 8 pieces, are left to
//   cards that can do it. All else is done in software by Send, with the same bytes; what lies in memory of another pool
//   is copied. Tags are put in by software, for verbs have no word for that. capabilities().segmentation, which means
//   tunnels too, stays false.
// Pool: its buffers hold the longest frame behind its headroom. The region is pinned; where RLIMIT_MEMLOCK is short,
//   Start refuses with both figures.
// Multicast that the port sends is kept from it, where the card can do that (described() says whether): cards give it to
//   whatever rule matches, and a switch that heard what it floods would learn its guests' addresses on the uplink.
// Drops: what the card drops for want of posted buffers it counts itself, for all programs on the port: drops() has what
//   its counter out_of_buffer (sysfs) has grown by since Open, as kReceiveRingFull.
// Errors: a queue that fails, which its poller or an event of the card finds out, is reset and filled again by its poller.
//   What was under way on it is counted, each packet once (kDeviceError), and TakeEvents tells (kQueueError). One that
//   cannot be reset sends and receives no more, and keeps its packets until Stop. kRemoved: the link is down for good.
//
// Threads: as nic.h. Cost: one doorbell a burst each way; no system call but for sleeping, and on the control side.
// Needs CAP_NET_RAW.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/nic/nic.h"
#include "sluice/packet/mac_address.h"

struct ibv_context;

namespace sluice {

// What comes to queue 0, or is spread by RSS, before any rule says so.
enum class VerbsTake : uint8_t {
  kAll,         // every frame that no other program's rule takes
  kOwnAddress,  // frames to mac(), and multicast that nobody else takes
  kNothing,     // what rules take, and no more
};

struct VerbsNicOptions {
  // "rdma:mlx5_0/1", "mlx5_0/1", or "mlx5_0" for its first port; or the name of the kernel's interface on it.
  std::string device = {};

  // Opened by the caller, who closes it after the Nic: for a device that is in no list, as a SoftwareVerbs.
  // `device` then names it in messages, and its port. Not set: found by `device`, and opened here.
  ibv_context* context = nullptr;

  MacAddress mac{};  // all zero: that of the kernel's interface
  uint32_t mtu = 0;  // of IP packets; 0: that of the kernel's interface, or 1500 where there is none
  VerbsTake take = VerbsTake::kAll;

  // Frames up to so many bytes are copied into the descriptor, so that the card need not fetch them. 0 = none; Start
  // refuses more than the card takes. Worth it where the card is far from the memory: measure.
  uint32_t max_inline = 0;

  // Receive through completion queues of the extended kind, which tell marks, where the card has them. A burst is received
  // by one call into the driver all the same, until a rule marks, or as long as the card is asked for neither of the next
  // two; then, and until Stop, by some calls for each frame. By those from the start where a trial at Open showed that
  // the driver does not take both ways on one queue (described(): "plain polls of extended queues"). False: rules that
  // mark are refused.
  bool marks = true;

  // What is asked of arrivals, of the card where it can, else of software; modes() tells which. A card's tag of all
  // zeros counts as none; the stamp of software is the time of Receive, one reading a burst.
  bool strip_vlan = false;       // the outermost tag goes to Packet::vlan_tci
  bool stamp = false;            // time of arrival in Packet::timestamp()
  const Clock* clock = nullptr;  // of stamps; outlives the Nic. Null = Clock::Monotonic()

  // Arrivals keep their frame check sequence (IEEE 802.3, 3.2.9), four bytes behind the frame; buffers hold them too.
  // Open refuses where the card has not this.
  bool keep_fcs = false;

  // Let the card cut TCP (TSO). kOff when its segments are not to be trusted.
  Want segmentation = Want::kPrefer;

  // Send by ibv_wr_start(3) and the calls with it, which are cheaper on cards that have them.
  Want extended_send = Want::kPrefer;

  // Receive from the rings that an mlx5 card shares with its driver, without a call into libmlx5 for each burst. It costs
  // fewer instructions, and all that the card says is told, also with several queues: verdicts of checksums (of IPv6 too),
  // marks, and the hash by which a frame was spread (Packet::rss_hash, which mlx5 cards make alike for both directions of a
  // flow). Off, because this has met no card, only what stands in for one: see that it holds on yours. Where it is not to
  // be had, modes() tells why. A ring in which there is something impossible ends its queue (kQueueError), until Stop.
  Want direct_receive = Want::kOff;

  // With that, let the card write completions of frames that are alike in blocks: 8 bytes over PCIe for each frame, not 64.
  // Not while the card stamps. Has met no card either.
  Want compressed_completions = Want::kOff;

  // With that, give the card chunks of memory (32 KiB, on most cards) that it fills with frame after frame, in place of one
  // buffer of the pool for each: it reads one descriptor for hundreds of frames. Frames are then copied to packets of the
  // pool, so that it is for short frames at high rates. It takes about as much memory again as the buffers of the ring, and
  // 64 bytes for each 64 of them; a pool that is empty leaves frames where they are. Has met no card either.
  Want striding = Want::kOff;

  // With those two, which it takes along, asked for or not, let the card join segments of TCP that follow one
  // another in a flow (LRO), into frames of up to 64 KB: they come as what a Coalescer (packet/coalesce.h) makes, with a
  // request to cut them again, so that guests and other ports get them as they need them. For long streams: a flow that
  // pauses in mid-burst waits for the card, some 32 us, which described() tells. Chunks are then of 128 KiB, if the card has
  // such, four or more for a queue. Not with compressed_completions, nor where frame check sequences are kept.
  // Joined is what comes in before any rule says so, in its place below all rules: what a rule takes comes in segments.
  // How long each was the card does not tell. All but the last are taken to be as long as the first, if the sum allows
  // that, else all alike (Packet::coalesced_size): cutting makes the same stream, but maybe of other segments.
  // Needs DEVX, which cards may have switched off (mlxconfig UCTX_EN=1). Has met no card either; what only one can show:
  //   whether a TIR of DEVX joins for work queues of verbs: DPDK, which has LRO, makes the queues by DEVX, too
  //   whether its flows rank among those of verbs by their priority: in the kernel they do, which was read, not tried
  //   whether completions tell all that headers are mended by, and the sum of the payload: Linux and DPDK rely on it
  Want lro = Want::kOff;

  // Where the ports of a card are one bond (link aggregation done by the card): the port, from 1, by which frames
  // leave. 0 = as the card likes. Set it where you spread flows over the links yourself. mlx5 cards only: Open refuses
  // where there is no such choice, Start where the ports are no bond.
  uint8_t lag_port = 0;
};

// A capability, and how it was found.
struct VerbsCapability {
  std::string name;  // "send checksums"
  bool found = false;
  std::string detail;  // of one that was found, how much; of the others what is missing
};

class SLUICE_EXPORT VerbsNic : public Nic {
 public:
  virtual const std::vector<VerbsCapability>& described() const = 0;

  // Limits what a transmit queue sends, until Stop; 0 = as fast as it can (ibv_modify_qp_rate_limit(3)).
  // kUnimplemented: the card has no pacing. kInvalidArgument: more than it can, or no such queue. kFailedPrecondition:
  // is stopped.
  virtual absl::Status LimitRate(QueueId queue, uint32_t kilobits_a_second) = 0;
};

// kNotFound: no such device; names those that there are. kPermissionDenied: names the privilege.
// kFailedPrecondition: the port is no Ethernet port, or the card has no raw packet queue pairs. kUnimplemented: built
// without libibverbs, or the card lacks what the options require.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<VerbsNic>> OpenVerbsNic(const VerbsNicOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_NIC_H_
