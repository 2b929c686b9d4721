// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nic/offload/egress_internal.h"

namespace sluice {

// In runs: up to a packet that has to be cut, then its segments, then on.
size_t Egress::Send(Burst& burst, Outlet& outlet) {
  const size_t offered = burst.size();
  bool room = Resume(outlet);
  while (room && !burst.empty()) {
    const auto whole = std::find_if(burst.begin(), burst.end(),
                                    [this](const Packet* packet) { return finisher_.MustCut(*packet); });
    Burst run;
    burst.MoveFront(static_cast<size_t>(whole - burst.begin()), run);
    Finish(run, [&outlet](DropReason reason) { outlet.CountDrops(reason, 1); });
    room = PutRun(run, outlet);
    if (!room) {
      burst.MoveFront(burst.size(), run);
      burst = std::move(run);
    } else if (!burst.empty()) {
      BeginCut(burst.PopFront(), outlet);
      room = Resume(outlet);
    }
  }
  return offered - burst.size();
}

// False when something is left, for which there is no room.
bool Egress::PutRun(Burst& run, Outlet& outlet) {
  if (run.empty()) return true;
  const size_t offered = run.size();
  const uint64_t bytes = BytesOf(run);
  const std::optional<DropReason> reason = outlet.Put(run);
  outlet.CountSent(offered - run.size(), bytes - BytesOf(run));
  if (!reason.has_value()) return run.empty();
  outlet.CountDrops(*reason, run.size());
  run.Clear();
  return true;
}

void Egress::BeginCut(PacketPtr packet, Outlet& outlet) {
  const uint64_t bytes = packet->length();
  if (const std::optional<DropReason> reason = finisher_.BeginCut(packet, segmenter_)) {
    return outlet.CountDrops(*reason, 1);
  }
  cutting_ = true;
  ++cuts_;
  cut_bytes_ = bytes;
  cut_short_.reset();
}

bool Egress::Resume(Outlet& outlet) {
  while (cutting_) {
    if (segments_.empty() && segmenter_.done()) {
      EndCut(outlet);
      break;
    }
    if (segments_.empty()) NextSegments();
    if (const std::optional<DropReason> reason = outlet.Put(segments_)) {
      GiveUp(*reason, outlet);
      break;
    }
    if (!segments_.empty()) return false;
  }
  return true;
}

void Egress::NextSegments() {
  segmenter_.Next(segments_);
  if (segmenter_.lost() > 0) cut_short_ = DropReason::kNoBuffer;
  Finish(segments_, [this](DropReason reason) { cut_short_ = reason; });
}

void Egress::EndCut(Outlet& outlet) {
  cutting_ = false;
  if (cut_short_.has_value()) return outlet.CountDrops(*cut_short_, 1);
  outlet.CountSent(1, cut_bytes_);
}

void Egress::GiveUp(DropReason reason, Outlet& outlet) {
  if (!cutting_) return;
  cutting_ = false;
  segments_.Clear();
  segmenter_.Abandon();
  outlet.CountDrops(reason, 1);
}

// Leaves in the burst what can go on the wire as it is.
template <typename OnDrop>
void Egress::Finish(Burst& burst, OnDrop on_drop) {
  Packet** const packets = burst.Extend(0) - burst.size();
  const size_t offered = burst.size();
  size_t ready = 0;
  for (size_t i = 0; i < offered; ++i) {
    PacketPtr packet(packets[i]);
    if (const std::optional<DropReason> reason = finisher_.Finish(packet)) {
      on_drop(*reason);
    } else {
      packets[ready++] = packet.release();
    }
  }
  burst.DropBack(offered - ready);
}

}  // namespace sluice
