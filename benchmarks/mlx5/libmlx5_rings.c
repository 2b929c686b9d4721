// SPDX-License-Identifier: Apache-2.0
// What libmlx5, the driver under libibverbs, executes for a packet in the calls that a verbs port of ours makes, with no
// card: its own functions (libmlx5.a) over rings made up here, and a card played by this program. Counted by callgrind, and
// only inside of the calls; count.sh builds and runs it.
//
//   libmlx5_rings plain | extended       sends by ibv_post_send, or by ibv_wr_start and the like
//   libmlx5_rings sends                  the latter, and counts no receiving: under ports that receive by themselves
//
// Needs the driver's private headers, which rdma-core's sources have and its packages have not.
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "mlx5.h"
#include "wqe.h"

enum { kRing = 512, kBurst = 32, kFrame = 64, kWarmUp = 64, kTurns = 256, kKey = 7 };

// In the packaged archive, what is not for programs has the version in front of its name.
#define OF_ARCHIVE(name) __asm__("rdmacore" SLUICE_RDMA_CORE "_0_" #name)
int PollPlain(struct ibv_cq*, int, struct ibv_wc*) OF_ARCHIVE(mlx5_poll_cq_v1);
int PostReceive(struct ibv_qp*, struct ibv_recv_wr*, struct ibv_recv_wr**) OF_ARCHIVE(mlx5_post_recv);
int PostSend(struct ibv_qp*, struct ibv_send_wr*, struct ibv_send_wr**) OF_ARCHIVE(mlx5_post_send);
int FillCalls(struct mlx5_qp*, const struct ibv_qp_init_attr_ex*, const struct mlx5dv_qp_init_attr*)
    OF_ARCHIVE(mlx5_qp_fill_wr_pfns);

static int counts, counts_receiving = 1;
#define TOGGLE \
  if (counts) CALLGRIND_TOGGLE_COLLECT

static struct mlx5_context card;
static struct mlx5_cq received, sent;
static struct mlx5_qp receiving, sending;
static char frames[kRing][kFrame];

static void* Zeroed(size_t size) {
  void* const memory = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  if (memory == NULL) abort();
  return memset(memory, 0, size);
}

// A port's queues are each used by one thread, but libmlx5 is not told so: its locks are taken.
static void MakeLock(struct mlx5_spinlock* lock) {
  lock->need_lock = 1;
  pthread_spin_init(&lock->lock, PTHREAD_PROCESS_PRIVATE);
}

static void MakeCompletions(struct mlx5_cq* queue) {
  queue->verbs_cq.cq.context = &card.ibv_ctx.context;
  queue->verbs_cq.cq.cqe = kRing - 1;
  queue->cqe_sz = 64;
  queue->dbrec = Zeroed(64);
  queue->active_buf = &queue->buf_a;
  struct mlx5_cqe64* const ring = queue->buf_a.buf = Zeroed(kRing * sizeof(*ring));
  for (int i = 0; i < kRing; ++i) ring[i].op_own = MLX5_CQE_INVALID << 4 | MLX5_CQE_OWNER_MASK;
  MakeLock(&queue->lock);
}

static void MakeRing(struct mlx5_wq* ring, int shift) {
  ring->wrid = Zeroed(kRing * sizeof(*ring->wrid));
  ring->wqe_head = Zeroed(kRing * sizeof(*ring->wqe_head));
  ring->wr_data = Zeroed(kRing * sizeof(*ring->wr_data));
  ring->wqe_cnt = ring->max_post = kRing;
  ring->max_gs = ring->qp_state_max_gs = 1;
  ring->wqe_shift = shift;
  MakeLock(&ring->lock);
}

static void MakePair(struct mlx5_qp* pair, uint32_t number) {
  struct ibv_qp* const visible = pair->ibv_qp = &pair->verbs_qp.qp;
  visible->context = &card.ibv_ctx.context;
  visible->qp_type = IBV_QPT_RAW_PACKET;
  visible->state = IBV_QPS_RTS;
  visible->recv_cq = &received.verbs_cq.cq;
  visible->send_cq = &sent.verbs_cq.cq;
  pair->rsc = (struct mlx5_resource){.type = MLX5_RSC_TYPE_QP, .rsn = number};
  pair->qp_cap_cache = MLX5_RX_CSUM_VALID | MLX5_CSUM_SUPPORT_RAW_OVER_ETH;
  pair->db = Zeroed(64);
  pair->buf.buf = Zeroed(kRing * 16);
  pair->sq_start = Zeroed(kRing * MLX5_SEND_WQE_BB);
  MakeRing(&pair->rq, 4);
  MakeRing(&pair->sq, MLX5_SEND_WQE_SHIFT);
  pair->sq.qend = (char*)pair->sq_start + kRing * MLX5_SEND_WQE_BB;
  pair->bf = Zeroed(sizeof(*pair->bf));
  pair->bf->reg = Zeroed(4096);
  pair->bf->buf_size = 256;
  const struct ibv_qp_init_attr_ex asked = {.qp_type = IBV_QPT_RAW_PACKET,
                                            .send_ops_flags = IBV_QP_EX_WITH_SEND};
  if (FillCalls(pair, &asked, NULL) != 0) abort();
  card.uidx_table[0].table[number] = &pair->rsc;
}

static void MakeCard(void) {
  card.cqe_version = 1;
  card.uidx_table[0].table = Zeroed((MLX5_UIDX_TABLE_MASK + 1) * sizeof(void*));
  card.uidx_table[0].refcnt = 2;
  MakeCompletions(&received);
  MakeCompletions(&sent);
  MakePair(&receiving, 1);
  MakePair(&sending, 2);
}

// The card's: owner bits turn with each round of a ring.
static void Complete(struct mlx5_cq* queue, uint32_t at, uint32_t pair, uint16_t request, uint8_t opcode) {
  struct mlx5_cqe64* const done = (struct mlx5_cqe64*)queue->buf_a.buf + at % kRing;
  done->srqn_uidx = htobe32(pair);
  done->byte_cnt = htobe32(kFrame);
  done->wqe_counter = htobe16(request);
  done->sop_drop_qpn = htobe32(pair | (uint32_t)MLX5_OPCODE_SEND << 24);
  done->op_own = (uint8_t)(opcode << 4 | !!(at & kRing));
}

static void Post(uint64_t first) {
  struct ibv_recv_wr requests[kBurst] = {};
  struct ibv_sge places[kBurst];
  for (uint64_t i = 0; i < kBurst; ++i) {
    places[i] =
        (struct ibv_sge){.addr = (uintptr_t)frames[(first + i) % kRing], .length = kFrame, .lkey = kKey};
    requests[i] = (struct ibv_recv_wr){.wr_id = first + i, .sg_list = &places[i], .num_sge = 1};
    if (i + 1 < kBurst) requests[i].next = &requests[i + 1];
  }
  struct ibv_recv_wr* bad = NULL;
  TOGGLE;
  const int error = PostReceive(receiving.ibv_qp, requests, &bad);
  TOGGLE;
  if (error != 0) abort();
}

static int SendPlain(uint64_t first) {
  struct ibv_send_wr requests[kBurst] = {};
  struct ibv_sge places[kBurst];
  for (uint64_t i = 0; i < kBurst; ++i) {
    places[i] =
        (struct ibv_sge){.addr = (uintptr_t)frames[(first + i) % kRing], .length = kFrame, .lkey = kKey};
    requests[i] =
        (struct ibv_send_wr){.wr_id = first + i, .sg_list = &places[i], .num_sge = 1, .opcode = IBV_WR_SEND};
    if (i + 1 < kBurst) requests[i].next = &requests[i + 1];
  }
  requests[kBurst - 1].send_flags = IBV_SEND_SIGNALED;
  struct ibv_send_wr* bad = NULL;
  TOGGLE;
  const int error = PostSend(sending.ibv_qp, requests, &bad);
  TOGGLE;
  return error;
}

static int SendExtended(uint64_t first) {
  struct ibv_qp_ex* const pair = &sending.verbs_qp.qp_ex;
  TOGGLE;
  pair->wr_start(pair);
  TOGGLE;
  for (uint64_t i = 0; i < kBurst; ++i) {
    const uintptr_t frame = (uintptr_t)frames[(first + i) % kRing];
    pair->wr_id = first + i;
    pair->wr_flags = i + 1 < kBurst ? 0 : IBV_SEND_SIGNALED;
    TOGGLE;
    pair->wr_send(pair);
    pair->wr_set_sge(pair, kKey, frame, kFrame);
    TOGGLE;
  }
  TOGGLE;
  const int error = pair->wr_complete(pair);
  TOGGLE;
  return error;
}

// As a port polls: with room for more than comes. Returns how many came; the last in `last`.
static int Poll(struct mlx5_cq* queue, int room, struct ibv_wc* last) {
  struct ibv_wc done[64];
  TOGGLE;
  const int got = PollPlain(&queue->verbs_cq.cq, room, done);
  TOGGLE;
  if (got > 0) *last = done[got - 1];
  return got;
}

static void Turn(uint32_t turn, int extended) {
  const uint64_t first = (uint64_t)turn * kBurst;
  for (uint32_t i = 0; i < kBurst; ++i) Complete(&received, turn * kBurst + i, 1, 0, MLX5_CQE_RESP_SEND);
  struct ibv_wc last = {};
  const int counts_sending = counts;
  counts = counts && counts_receiving;
  if (Poll(&received, 64, &last) != kBurst || last.wr_id != first + kBurst - 1) abort();
  Post(first + kRing - kBurst);
  counts = counts_sending;
  if ((extended ? SendExtended(first) : SendPlain(first)) != 0) abort();
  Complete(&sent, turn, 2, (uint16_t)(first + kBurst - 1), MLX5_CQE_REQ);
  if (Poll(&sent, 16, &last) != 1 || last.wr_id != first + kBurst - 1) abort();
}

int main(int argc, char** argv) {
  counts_receiving = argc < 2 || strcmp(argv[1], "sends") != 0;
  const int extended = argc > 1 && strcmp(argv[1], "plain") != 0;
  MakeCard();
  for (uint64_t posted = 0; posted < kRing - kBurst; posted += kBurst) Post(posted);
  for (uint32_t i = 0; i < kWarmUp; ++i) Turn(i, extended);
  counts = 1;
  for (uint32_t i = 0; i < kTurns; ++i) Turn(kWarmUp + i, extended);
  printf("packets %d\n", kTurns * kBurst);
  return 0;
}
