// SPDX-License-Identifier: Apache-2.0
// Work requests, from the program's lists into the rings.
#include <cstring>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

using State = SoftQueuePair::State;

void CopyPieces(const ibv_sge* from, int count, SoftWorkRing& ring) {
  ring.Fresh().pieces = static_cast<uint16_t>(count);
  SoftPiece* to = ring.FreshPieces(count);
  for (int i = 0; i < count; ++i) to[i] = {from[i].addr, from[i].length, from[i].lkey};
}

bool PiecesFit(int count, const SoftWorkRing& ring) {
  return count >= 0 && static_cast<uint32_t>(count) <= ring.max_pieces();
}

// The bytes themselves: the program may change them as soon as the call is back.
int CopyInline(const ibv_send_wr& request, SoftWorkRing& ring) {
  uint32_t length = 0;
  for (int i = 0; i < request.num_sge; ++i) {
    const ibv_sge& piece = request.sg_list[i];
    if (piece.length > ring.max_bytes() - length) return ENOMEM;
    std::memcpy(ring.FreshBytes() + length, reinterpret_cast<const void*>(piece.addr), piece.length);
    length += piece.length;
  }
  ring.Fresh().pieces = 0;
  ring.Fresh().bytes = static_cast<uint16_t>(length);
  return 0;
}

// The headers are kept with the request, and repeated before each segment of what the pieces hold.
int CopySegmented(const ibv_send_wr& request, SoftWorkRing& ring) {
  const auto& [headers, length, size] = request.tso;
  if (ring.max_bytes() < length || length == 0 || size == 0) return EINVAL;
  std::memcpy(ring.FreshBytes(), headers, length);
  ring.Fresh().bytes = length;
  ring.Fresh().segment_size = size;
  CopyPieces(request.sg_list, request.num_sge, ring);
  return 0;
}

int Copy(const SoftQp& qp, const ibv_send_wr& request, SoftWorkRing& ring) {
  if (ring.full()) return ENOMEM;
  const bool segmented = request.opcode == IBV_WR_TSO && qp.max_headers > 0;
  if (request.opcode != IBV_WR_SEND && !segmented) return EINVAL;
  const bool checksums = (request.send_flags & IBV_SEND_IP_CSUM) != 0;
  if (checksums && !DeviceOf(qp.qp.context).hardware().send_checksums) return EINVAL;
  if (!PiecesFit(request.num_sge, ring)) return EINVAL;
  ring.Fresh() = {.id = request.wr_id,
                  .signaled = qp.init.sq_sig_all != 0 || (request.send_flags & IBV_SEND_SIGNALED) != 0,
                  .checksums = checksums};
  if (segmented) return CopySegmented(request, ring);
  if ((request.send_flags & IBV_SEND_INLINE) != 0) return CopyInline(request, ring);
  CopyPieces(request.sg_list, request.num_sge, ring);
  return 0;
}

// A list may be posted in part; `bad` is then the first that is not.
int CopyAll(SoftQp& qp, ibv_send_wr* request, ibv_send_wr** bad) {
  SoftWorkRing& ring = qp.pair->send().ring();
  for (; request != nullptr; request = request->next) {
    if (const int error = Copy(qp, *request, ring); error != 0) {
      *bad = request;
      return error;
    }
    ring.Post();
  }
  return 0;
}

}  // namespace

int WhyNoSends(const SoftQp& qp) {
  if (DeviceOf(qp.qp.context).removed) return EIO;
  const State state = qp.pair->state();
  const bool takes = !qp.pair->spreads() && (state == State::kSending || state == State::kError);
  return takes ? 0 : EINVAL;
}

void GoOn(SoftQp& qp) {
  SoftDevice& device = DeviceOf(qp.qp.context);
  if (qp.pair->state() == State::kError) device.port.SetState(*qp.pair, State::kError);
  device.Step();
}

// Not while somebody puts requests together in the ring.
int PostSend(ibv_qp* qp, ibv_send_wr* request, ibv_send_wr** bad) {
  std::unique_lock<std::mutex> alone;
  if (QpOf(qp).batch != nullptr) alone = std::unique_lock(QpOf(qp).batch->gate);
  const std::lock_guard lock(DeviceOf(qp->context).gate);
  const int refused = WhyNoSends(QpOf(qp));
  if (refused != 0) *bad = request;
  const int error = refused != 0 ? refused : CopyAll(QpOf(qp), request, bad);
  GoOn(QpOf(qp));
  return error;
}

int PostReceives(SoftReceiveQueue& queue, ibv_recv_wr* request, ibv_recv_wr** bad) {
  SoftWorkRing& ring = queue.ring();
  for (; request != nullptr; request = request->next) {
    const int error = !PiecesFit(request->num_sge, ring) ? EINVAL : ring.full() ? ENOMEM : 0;
    if (error != 0) {
      *bad = request;
      return error;
    }
    ring.Fresh() = {.id = request->wr_id};
    CopyPieces(request->sg_list, request->num_sge, ring);
    ring.Post();
  }
  return 0;
}

int PostReceive(ibv_qp* qp, ibv_recv_wr* request, ibv_recv_wr** bad) {
  SoftQp& ours = QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  const std::lock_guard lock(device.gate);
  const State state = ours.pair->state();
  if (ours.pair->spreads() || state == State::kReset || device.removed) {
    *bad = request;
    return device.removed ? EIO : EINVAL;
  }
  const int error = PostReceives(ours.pair->receive(), request, bad);
  if (state == State::kError) device.port.SetState(*ours.pair, state);
  return error;
}

}  // namespace sluice
