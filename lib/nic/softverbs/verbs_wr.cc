// SPDX-License-Identifier: Apache-2.0
// The extended send calls (ibv_wr_post(3)): requests are put together one by one between start and complete, and then
// posted all or none. Whoever is between the two has the queue pair's calls to itself.
#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

SoftQp& QpOf(ibv_qp_ex* qp) { return sluice::QpOf(&qp->qp_base); }
SoftBatch& BatchOf(ibv_qp_ex* qp) { return *QpOf(qp).batch; }

void Add(ibv_qp_ex* qp, ibv_wr_opcode opcode) {
  SoftBatch& batch = BatchOf(qp);
  ibv_send_wr request{};
  request.wr_id = qp->wr_id;
  request.opcode = opcode;
  request.send_flags = qp->wr_flags;
  batch.requests.push_back({.request = request, .first_piece = batch.pieces.size()});
}

void Start(ibv_qp_ex* qp) {
  SoftBatch& batch = BatchOf(qp);
  batch.gate.lock();
  batch.requests.clear();
  batch.pieces.clear();
  batch.bytes.clear();
  batch.error = 0;
}

void Send(ibv_qp_ex* qp) { Add(qp, IBV_WR_SEND); }

void SendSegmented(ibv_qp_ex* qp, void* headers, uint16_t length, uint16_t size) {
  if (length == 0 || size == 0 || length > QpOf(qp).max_headers) BatchOf(qp).error = EINVAL;
  Add(qp, IBV_WR_TSO);
  BatchOf(qp).requests.back().request.tso = {.hdr = headers, .hdr_sz = length, .mss = size};
}

void SetPieces(ibv_qp_ex* qp, size_t count, const ibv_sge* pieces) {
  SoftBatch& batch = BatchOf(qp);
  if (count > QpOf(qp).init.cap.max_send_sge) batch.error = EINVAL;
  batch.pieces.insert(batch.pieces.end(), pieces, pieces + count);
  batch.requests.back().request.num_sge = static_cast<int>(count);
}

void SetPiece(ibv_qp_ex* qp, uint32_t key, uint64_t address, uint32_t length) {
  const ibv_sge piece{.addr = address, .length = length, .lkey = key};
  SetPieces(qp, 1, &piece);
}

// The bytes are taken now; where they will be is known when all are there.
void SetInlineList(ibv_qp_ex* qp, size_t count, const ibv_data_buf* pieces) {
  SoftBatch& batch = BatchOf(qp);
  const size_t from = batch.bytes.size();
  for (size_t i = 0; i < count; ++i) {
    const auto* const bytes = static_cast<const uint8_t*>(pieces[i].addr);
    batch.bytes.insert(batch.bytes.end(), bytes, bytes + pieces[i].length);
  }
  const size_t length = batch.bytes.size() - from;
  if (length > QpOf(qp).init.cap.max_inline_data) batch.error = EINVAL;
  batch.pieces.push_back({.addr = from, .length = static_cast<uint32_t>(length), .lkey = 0});
  ibv_send_wr& request = batch.requests.back().request;
  request.num_sge = 1;
  request.send_flags |= IBV_SEND_INLINE;
}

void SetInline(ibv_qp_ex* qp, void* bytes, size_t length) {
  const ibv_data_buf piece{.addr = bytes, .length = length};
  SetInlineList(qp, 1, &piece);
}

// Now that nothing moves any more, requests are told where their pieces are.
ibv_send_wr* Link(SoftBatch& batch) {
  for (size_t i = 0; i < batch.requests.size(); ++i) {
    auto& [request, first] = batch.requests[i];
    request.sg_list = batch.pieces.data() + first;
    const bool inlined = (request.send_flags & IBV_SEND_INLINE) != 0 && request.num_sge > 0;
    if (inlined) request.sg_list->addr += reinterpret_cast<uint64_t>(batch.bytes.data());
    request.next = i + 1 < batch.requests.size() ? &batch.requests[i + 1].request : nullptr;
  }
  return batch.requests.empty() ? nullptr : &batch.requests[0].request;
}

int Complete(ibv_qp_ex* qp) {
  SoftBatch& batch = BatchOf(qp);
  const std::unique_lock unlock(batch.gate, std::adopt_lock);
  if (batch.error != 0 || batch.requests.empty()) return batch.error;
  return PostAllOrNone(&qp->qp_base, Link(batch), batch.requests.size());
}

void Abort(ibv_qp_ex* qp) { BatchOf(qp).gate.unlock(); }

}  // namespace

void FillInSendCalls(SoftQp& made) {
  made.batch = std::make_unique<SoftBatch>();
  made.comp_mask |= VerbsQp::kExtendedSend;
  ibv_qp_ex& qp = made.qp_ex;
  qp.wr_start = Start;
  qp.wr_complete = Complete;
  qp.wr_abort = Abort;
  qp.wr_send = Send;
  qp.wr_send_tso = SendSegmented;
  qp.wr_set_sge = SetPiece;
  qp.wr_set_sge_list = SetPieces;
  qp.wr_set_inline_data = SetInline;
  qp.wr_set_inline_data_list = SetInlineList;
}

}  // namespace sluice
