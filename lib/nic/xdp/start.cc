// SPDX-License-Identifier: Apache-2.0
// Start and Stop. Traffic is let in by the last step of the one and cut by the first of the other, so that a
// Start that fails half-way has disturbed nobody.

#include <algorithm>
#include <bit>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "nic/xdp/xdp_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint32_t kSmallBuffer = 2048;  // the kernel's chunk sizes: 2 KiB to a page, a power of two
constexpr uint32_t kLargeBuffer = 4096;
constexpr uint32_t kFrameOverMtu =
    14 + 4;  // Ethernet header and one VLAN tag, as the kernel's own check has it

absl::Status Refuse(absl::StatusCode code, const std::string& device, const char* capability,
                    const std::string& what, const std::string& remedy) {
  return ErrorStatus(
      code, {.device = device, .stage = "start", .capability = capability, .what = what, .remedy = remedy});
}

absl::Status Invalid(const std::string& device, const char* option, const std::string& what,
                     const std::string& remedy) {
  return Refuse(absl::StatusCode::kInvalidArgument, device, option, what, remedy);
}

bool IsRing(uint32_t entries, uint32_t most) { return std::has_single_bit(entries) && entries <= most; }

}  // namespace

XdpNicImpl::XdpNicImpl(const XdpNicOptions& options, std::string name, std::unique_ptr<Interface> interface,
                       LinkWatch watch, const LinkFacts& facts, const Capabilities& capabilities)
    : options_(options),
      name_(std::move(name)),
      interface_(std::move(interface)),
      mac_(facts.mac),
      capabilities_(capabilities),
      watch_(std::move(watch)),
      link_(*interface_) {}

XdpNicImpl::~XdpNicImpl() { Stop().IgnoreError(); }

absl::Status XdpNicImpl::CheckQueues(const QueueOptions& queues) const {
  if (running()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, name_, "", "already running", "call Stop first");
  }
  if (queues.pool == nullptr)
    return Invalid(name_, "pool", "none given", "name the pool of received packets");
  for (const uint32_t ring : {queues.rx_ring, queues.tx_ring}) {
    if (IsRing(ring, capabilities_.max_ring_size)) continue;
    return Invalid(name_, "ring", absl::StrCat(ring, " entries"),
                   absl::StrCat("use a power of two up to ", capabilities_.max_ring_size));
  }
  const uint32_t buffer = queues.pool->options().buffer_size;
  if (buffer != kSmallBuffer && buffer != kLargeBuffer) {
    return Invalid(name_, "pool", absl::StrCat("buffer_size ", buffer),
                   "AF_XDP takes buffers of 2048 or 4096 bytes");
  }
  return absl::OkStatus();
}

absl::Status XdpNicImpl::CheckFrames(const QueueOptions& queues, const LinkFacts& facts) const {
  const uint32_t buffer = queues.pool->options().buffer_size;
  const uint32_t headroom = XdpSockets::Headroom(*queues.pool);
  const uint32_t frame = facts.mtu + kFrameOverMtu;
  if (headroom < buffer && frame <= buffer - headroom) return absl::OkStatus();
  const int64_t holds = int64_t{buffer} - headroom;
  const int64_t large = int64_t{kLargeBuffer} - headroom;
  std::string remedy = absl::StrCat("lower the MTU to ", std::max<int64_t>(holds - kFrameOverMtu, 0));
  if (frame <= large) absl::StrAppend(&remedy, ", or use a pool with buffer_size 4096, which holds ", large);
  return Refuse(absl::StatusCode::kFailedPrecondition, name_, "MTU",
                absl::StrCat("MTU ", facts.mtu, " makes frames of up to ", frame, " bytes, and a buffer of ",
                             buffer, " holds ", holds, " behind ", headroom, " of headroom"),
                remedy);
}

// The interface under the name that it has now: sockets are bound by name.
absl::StatusOr<LinkFacts> XdpNicImpl::FindAgain() {
  if (!interface_->IsInOurNamespace()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, name_, "network namespace",
                  "this thread is in another one than when the port was opened",
                  "call Start on a thread in the interface's network namespace");
  }
  const absl::StatusOr<LinkFacts> facts = interface_->Facts();
  if (facts.ok()) return facts;
  return Refuse(absl::StatusCode::kNotFound, name_, "", "the interface has gone", "open the port again");
}

absl::Status XdpNicImpl::Start(const QueueOptions& queues) {
  if (absl::Status valid = CheckQueues(queues); !valid.ok()) return valid;
  const absl::StatusOr<LinkFacts> facts = FindAgain();
  if (!facts.ok()) return facts.status();
  if (absl::Status fits = CheckFrames(queues, *facts); !fits.ok()) return fits;
  absl::StatusOr<std::unique_ptr<Started>> started = Bring(queues, *facts);
  if (!started.ok()) {
    ReturnPackets();
    return started.status();
  }
  link_.Refresh();
  told_ = LinkState::kDown;
  watch_.AskState();
  const std::lock_guard lock(mutex_);
  NoteModes(**started);
  queues_ = queues;
  started_ = *std::move(started);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<XdpNicImpl::Started>> XdpNicImpl::Bring(const QueueOptions& queues,
                                                                       const LinkFacts& facts) {
  // 1. Decide.
  const absl::StatusOr<DeviceQueues> device = interface_->Queues();
  if (!device.ok()) return device.status();
  const absl::StatusOr<QueuePlan> plan = PlanQueues(name_, *device, queues.rx_queues, queues.tx_queues);
  if (!plan.ok()) return plan.status();

  // 2. Make what nobody else sees: the program, the sockets, buffers in their rings.
  absl::StatusOr<XdpProgram> program = XdpProgram::Load(name_, device->rx);
  if (!program.ok()) return program.status();
  auto started = std::make_unique<Started>(*std::move(program));
  absl::StatusOr<std::unique_ptr<XdpSockets>> sockets = XdpSockets::Open({.device = name_,
                                                                          .interface = facts.name,
                                                                          .rx_queues = plan->rx,
                                                                          .tx_queues = plan->tx,
                                                                          .rx_ring = queues.rx_ring,
                                                                          .tx_ring = queues.tx_ring,
                                                                          .pool = queues.pool,
                                                                          .options = options_});
  if (!sockets.ok()) return sockets.status();
  started->sockets = *std::move(sockets);
  absl::Status done = AttachQueues(queues, *started->sockets, facts.mtu + kFrameOverMtu);

  // 3. Change the device, and let traffic in last.
  if (done.ok()) done = LetIn(*plan, *device, *started);
  if (!done.ok()) {
    DetachQueues();
    return done;
  }
  return started;
}

absl::Status XdpNicImpl::LetIn(const QueuePlan& plan, const DeviceQueues& device, Started& started) {
  for (uint32_t i = 0; i < plan.rx; ++i) {
    const absl::Status redirected = started.program.Redirect(i, (*started.sockets)[i].fd());
    if (!redirected.ok()) return redirected;
  }
  absl::StatusOr<AppliedPlan> applied = AppliedPlan::Apply(plan, device, *interface_);
  if (!applied.ok()) return applied.status();
  started.plan.emplace(*std::move(applied));
  started.plan_text = plan.text;
  return started.program.Attach(interface_->index(), options_.native);
}

absl::Status XdpNicImpl::AttachQueues(const QueueOptions& queues, XdpSockets& sockets, uint32_t max_frame) {
  {
    const std::lock_guard lock(mutex_);  // drops() may be asked for meanwhile
    while (rx_.size() < queues.rx_queues) rx_.emplace_back(QueueId(static_cast<uint16_t>(rx_.size())));
    while (tx_.size() < queues.tx_queues) tx_.emplace_back(QueueId(static_cast<uint16_t>(tx_.size())), link_);
  }
  for (uint16_t i = 0; i < queues.tx_queues; ++i) tx_[i].Attach(sockets[i], queues, max_frame);
  for (uint16_t i = 0; i < queues.rx_queues; ++i) {
    if (rx_[i].Attach(sockets[i], queues, sockets.busy_poll().active)) continue;
    DetachQueues();
    const uint32_t needed = queues.rx_queues * queues.rx_ring;
    return Refuse(absl::StatusCode::kResourceExhausted, name_, "pool",
                  absl::StrCat(queues.rx_queues, " receive queues of ", queues.rx_ring, " need ", needed,
                               " packets; the pool has ", queues.pool->options().packets, " in all"),
                  "use a larger pool, shorter rings, or a larger allowance for the owner");
  }
  return absl::OkStatus();
}

void XdpNicImpl::DetachQueues() {
  for (XdpRxQueue& queue : rx_) queue.Detach();
  for (XdpTxQueue& queue : tx_) queue.Detach();
}

void XdpNicImpl::ReturnPackets() {
  for (XdpRxQueue& queue : rx_) queue.ReturnPackets();
  for (XdpTxQueue& queue : tx_) queue.ReturnPackets();
}

absl::Status XdpNicImpl::Stop() {
  if (!running()) return absl::OkStatus();
  const std::lock_guard lock(mutex_);
  started_->program.Detach();
  DetachQueues();
  AddUp(*started_->sockets);
  started_.reset();
  ReturnPackets();
  return absl::OkStatus();
}

}  // namespace sluice
