// SPDX-License-Identifier: Apache-2.0
// What DPDK's mlx5 driver executes for a packet, with no card: its own burst functions (librte_net_mlx5.a) over rings
// made up here, and a card played by this program. Counted by callgrind, and only inside of the two calls; count.sh builds
// and runs it.
//
//   dpdk_rings plain | offloads      which sending function: without any offload, or with what ports of ours have
//
// Needs the driver's private headers, which DPDK's sources have and its packages have not.
#include <rte_eal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "mlx5_rx.h"
#include "mlx5_rxtx.h"
#include "mlx5_tx.h"

enum { kRingLog = 9, kRing = 1 << kRingLog, kBurst = 32, kFrame = 64, kWarmUp = 64, kTurns = 256 };

typedef uint16_t (*SendBurst)(void*, struct rte_mbuf**, uint16_t);
uint16_t mlx5_tx_burst_none_empw(void* queue, struct rte_mbuf** packets, uint16_t count);
uint16_t mlx5_tx_burst_mtsc_empw(void* queue, struct rte_mbuf** packets, uint16_t count);

static uint32_t doorbells[4];
static uint64_t doorbell_page;
static uint32_t generation;

static void* Zeroed(size_t size) {
  void* const memory = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  if (memory == NULL) abort();
  return memset(memory, 0, size);
}

static struct mlx5_cqe* Completions(void) {
  struct mlx5_cqe* const ring = Zeroed(kRing * sizeof(struct mlx5_cqe));
  for (int i = 0; i < kRing; ++i) ring[i].op_own = MLX5_CQE_INVALID << 4 | MLX5_CQE_OWNER_MASK;
  return ring;
}

// The card's: owner bits turn with each round of a ring.
static void Complete(volatile struct mlx5_cqe* ring, uint16_t at, uint8_t opcode) {
  ring[at & (kRing - 1)].op_own = (uint8_t)(opcode << 4 | !!(at & kRing));
}

static struct mlx5_rxq_data* MakeReceiving(struct rte_mempool* pool) {
  struct mlx5_rxq_data* const queue = Zeroed(sizeof(*queue));
  queue->csum = 1;
  queue->cqe_n = queue->elts_n = kRingLog;
  queue->rq_db = &doorbells[0];
  queue->cq_db = &doorbells[1];
  queue->mp = pool;
  queue->mr_ctrl.dev_gen_ptr = &generation;
  queue->mr_ctrl.cache_bh.len = 1;  // one region, as for a pool of one piece
  queue->rq_repl_thresh = MLX5_VPMD_RXQ_RPLNSH_THRESH(kRing);
  queue->wqes = Zeroed(kRing * sizeof(struct mlx5_wqe_data_seg));
  queue->cqes = (void*)Completions();
  struct rte_mbuf** const buffers = Zeroed((kRing + MLX5_VPMD_DESCS_PER_LOOP) * sizeof(*buffers));
  if (rte_mempool_get_bulk(pool, (void**)buffers, kRing) != 0) abort();
  for (int i = 0; i < MLX5_VPMD_DESCS_PER_LOOP; ++i) buffers[kRing + i] = &queue->fake_mbuf;
  queue->elts = (void*)buffers;
  queue->rq_ci = kRing;
  struct rte_mbuf* const fresh = &queue->fake_mbuf;
  fresh->data_off = RTE_PKTMBUF_HEADROOM;
  rte_mbuf_refcnt_set(fresh, 1);
  fresh->nb_segs = 1;
  memcpy(&queue->mbuf_initializer, &fresh->rearm_data, sizeof(uint64_t));
  return queue;
}

static struct mlx5_txq_data* MakeSending(void) {
  struct mlx5_txq_data* const queue = Zeroed(sizeof(*queue) + kRing * sizeof(struct rte_mbuf*));
  queue->elts_s = queue->wqe_s = queue->cqe_s = kRing;
  queue->elts_m = queue->wqe_m = queue->cqe_m = kRing - 1;
  queue->elts_n = queue->cqe_n = queue->wqe_n = kRingLog;
  queue->wqe_thres = kRing / MLX5_TX_COMP_THRESH_INLINE_DIV;
  queue->tso_en = 1;
  queue->db_nc = 1;
  queue->fast_free = 1;
  queue->mr_ctrl.dev_gen_ptr = &generation;
  queue->mr_ctrl.cache[0].end = UINTPTR_MAX;  // one region holds all
  queue->wqes = Zeroed(kRing * sizeof(struct mlx5_wqe));
  queue->wqes_end = queue->wqes + kRing;
  queue->fcqs = Zeroed(kRing * sizeof(*queue->fcqs));
  queue->cqes = Completions();
  queue->qp_db = &doorbells[2];
  queue->cq_db = &doorbells[3];
  struct mlx5_proc_priv* const process = Zeroed(sizeof(*process) + sizeof(process->uar_table[0]));
  process->uar_table[0].db = &doorbell_page;
  rte_eth_devices[0].process_private = process;
  return queue;
}

static void Arrive(struct mlx5_rxq_data* queue, uint16_t* at) {
  for (int i = 0; i < kBurst; ++i, ++*at) {
    volatile struct mlx5_cqe* const done = &(*queue->cqes)[*at & (kRing - 1)];
    done->byte_cnt = rte_cpu_to_be_32(kFrame);
    Complete(*queue->cqes, *at, MLX5_CQE_RESP_SEND);
  }
}

// All that was asked to be told of has been sent.
static void Depart(struct mlx5_txq_data* queue, uint16_t* at) {
  for (; *at != queue->cq_pi; ++*at) {
    queue->cqes[*at & (kRing - 1)].wqe_counter = rte_cpu_to_be_16(queue->wqe_ci);
    Complete(queue->cqes, *at, MLX5_CQE_REQ);
  }
}

static void Turn(struct mlx5_rxq_data* receiving, struct mlx5_txq_data* sending, SendBurst send,
                 int counted) {
  static uint16_t arrived, departed;
  struct rte_mbuf* packets[kBurst];
  Arrive(receiving, &arrived);
  if (counted) CALLGRIND_TOGGLE_COLLECT;
  const uint16_t got = mlx5_rx_burst_vec(receiving, packets, kBurst);
  const uint16_t sent = send(sending, packets, got);
  if (counted) CALLGRIND_TOGGLE_COLLECT;
  Depart(sending, &departed);
  if (got == kBurst && sent == kBurst && packets[0]->pkt_len == kFrame) return;
  fprintf(stderr, "received %u, sent %u of %d\n", got, sent, kBurst);
  exit(1);
}

int main(int argc, char** argv) {
  const SendBurst send =
      argc > 1 && strcmp(argv[1], "offloads") == 0 ? mlx5_tx_burst_mtsc_empw : mlx5_tx_burst_none_empw;
  char* arguments[] = {argv[0], "--no-huge", "--no-pci", "--no-telemetry",     "--no-shconf", "-m",
                       "64",    "--lcores",  "0@0",      "--log-level=*:error"};
  if (rte_eal_init(RTE_DIM(arguments), arguments) < 0) return 1;
  struct rte_mempool* const pool =
      rte_pktmbuf_pool_create("packets", 4095, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (pool == NULL) return 1;
  struct mlx5_rxq_data* const receiving = MakeReceiving(pool);
  struct mlx5_txq_data* const sending = MakeSending();
  for (int i = 0; i < kWarmUp; ++i) Turn(receiving, sending, send, 0);
  for (int i = 0; i < kTurns; ++i) Turn(receiving, sending, send, 1);
  printf("packets %d\n", kTurns * kBurst);
  return 0;
}
