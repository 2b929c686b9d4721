// SPDX-License-Identifier: Apache-2.0
// The extended send calls (ibv_wr_post(3)): requests are put together one by one between start and complete, and then
// posted all or none. Whoever is between the two has the queue pair's calls to itself.
#include <cstring>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

SoftQp& QpOf(ibv_qp_ex* qp) { return sluice::QpOf(&qp->qp_base); }

// What a batch is written with: the slot of its last request.
class Writer {
 public:
  explicit Writer(ibv_qp_ex* qp) : qp_(QpOf(qp)), batch_(*qp_.batch), ring_(qp_.pair->send().ring()) {}

  // False when there is no room; then nothing is written until the end.
  bool Add(const ibv_qp_ex& asked) {
    if (batch_.count == batch_.room) return Refuse(ENOMEM), false;
    const bool checksums = (asked.wr_flags & IBV_SEND_IP_CSUM) != 0;
    if (checksums && !DeviceOf(qp_.qp.context).hardware().send_checksums) Refuse(EINVAL);
    ring_.Fresh(batch_.count++) = {
        .id = asked.wr_id,
        .signaled = qp_.init.sq_sig_all != 0 || (asked.wr_flags & IBV_SEND_SIGNALED) != 0,
        .checksums = checksums};
    return true;
  }
  void Segment(const void* headers, uint16_t length, uint16_t size) {
    if (length == 0 || size == 0 || length > qp_.max_headers) return Refuse(EINVAL);
    std::memcpy(ring_.FreshBytes(last()), headers, length);
    ring_.Fresh(last()).bytes = length;
    ring_.Fresh(last()).segment_size = size;
  }
  void SetPieces(size_t count, const ibv_sge* pieces) {
    if (batch_.error != 0) return;
    if (count > ring_.max_pieces()) return Refuse(EINVAL);
    ring_.Fresh(last()).pieces = static_cast<uint16_t>(count);
    SoftPiece* const to = ring_.FreshPieces(static_cast<int>(count), last());
    for (size_t i = 0; i < count; ++i) to[i] = {pieces[i].addr, pieces[i].length, pieces[i].lkey};
  }
  // The bytes themselves, now.
  void AddBytes(const void* bytes, size_t length) {
    if (batch_.error != 0) return;
    SoftWork& work = ring_.Fresh(last());
    if (work.segment_size > 0 || length > qp_.init.cap.max_inline_data - work.bytes) return Refuse(EINVAL);
    std::memcpy(ring_.FreshBytes(last()) + work.bytes, bytes, length);
    work.bytes = static_cast<uint16_t>(work.bytes + length);
  }

 private:
  uint64_t last() const { return batch_.count - 1; }
  void Refuse(int error) { batch_.error = error; }

  SoftQp& qp_;
  SoftBatch& batch_;
  SoftWorkRing& ring_;
};

// Room may grow until the end, for the ring's requests complete meanwhile; it does not shrink.
void Start(ibv_qp_ex* qp) {
  SoftBatch& batch = *QpOf(qp).batch;
  batch.gate.lock();
  const std::lock_guard lock(DeviceOf(qp->qp_base.context).gate);
  batch.room = QpOf(qp).pair->send().ring().room();
  batch.count = 0;
  batch.error = 0;
}

void Send(ibv_qp_ex* qp) { Writer(qp).Add(*qp); }

void SendSegmented(ibv_qp_ex* qp, void* headers, uint16_t length, uint16_t size) {
  Writer writer(qp);
  if (writer.Add(*qp)) writer.Segment(headers, length, size);
}

void SetPieces(ibv_qp_ex* qp, size_t count, const ibv_sge* pieces) { Writer(qp).SetPieces(count, pieces); }

void SetPiece(ibv_qp_ex* qp, uint32_t key, uint64_t address, uint32_t length) {
  const ibv_sge piece{.addr = address, .length = length, .lkey = key};
  Writer(qp).SetPieces(1, &piece);
}

void SetInlineList(ibv_qp_ex* qp, size_t count, const ibv_data_buf* pieces) {
  Writer writer(qp);
  for (size_t i = 0; i < count; ++i) writer.AddBytes(pieces[i].addr, pieces[i].length);
}

void SetInline(ibv_qp_ex* qp, void* bytes, size_t length) { Writer(qp).AddBytes(bytes, length); }

int Complete(ibv_qp_ex* qp) {
  SoftQp& ours = QpOf(qp);
  const std::unique_lock unlock(ours.batch->gate, std::adopt_lock);
  if (ours.batch->error != 0 || ours.batch->count == 0) return ours.batch->error;
  const std::lock_guard lock(DeviceOf(qp->qp_base.context).gate);
  const int error = WhyNoSends(ours);
  if (error == 0) ours.pair->send().ring().Post(ours.batch->count);
  GoOn(ours);
  return error;
}

void Abort(ibv_qp_ex* qp) { QpOf(qp).batch->gate.unlock(); }

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
