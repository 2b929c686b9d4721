// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_CARD_H_
#define SLUICE_TESTS_NIC_MLX5_CARD_H_

// The rings of an mlx5 card, as mlx5dv.h lays them out, over work queues of a software verbs device:
//
//   driver ── segments in memory ──▶ card ── ibv_post_wq_recv ──▶ software device ══ wire
//          ◀─ completions in memory ──    ◀─── ibv_start_poll ───
//
// The driver tells it by records in memory alone, so that somebody has to make it look: a test by Pump, or a thread of its
// own. What it is to know of queues it hears from the calls of verbs that make, change and destroy work queues, which it
// puts its own in place of.

#include <infiniband/mlx5dv.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice::testing {

struct Mlx5StandIn;

class Mlx5Card {
 public:
  static Mlx5Card& Only();  // of this library

  explicit Mlx5Card(Mlx5StandIn& manner) : manner_(manner) {}
  ~Mlx5Card() { Rest(); }

  ibv_cq_ex* CreateCompletions(ibv_context* context, ibv_cq_init_attr_ex* asked,
                               const mlx5dv_cq_init_attr* more);
  ibv_wq* CreateStriding(ibv_context* context, ibv_wq_init_attr* asked, const mlx5dv_wq_init_attr& more);
  int Tell(const mlx5dv_obj& what, uint64_t kinds);
  // A pair that spreads over a table of that number, and what comes from it is joined up to so many bytes from TCP on. Null
  // with an errno on failure.
  ibv_qp* CreateJoiningPair(ibv_context& context, uint32_t table, const ibv_rx_hash_conf& hash,
                            uint32_t most);

  // Takes what was posted, and completes what has arrived.
  void Pump();
  // Does so all the time, on a thread of its own, until Rest.
  void Run();
  void Rest();

  static constexpr uint32_t kJoining = 0xfffffe;  // mark of what comes from such a pair

 private:
  // What was joined to a frame.
  struct Piece {
    uint16_t counter;
    uint32_t at, bytes;  // in its buffer
  };
  // A frame that arrived, or a request that failed.
  struct Done {
    uint16_t counter;
    ibv_wc_status status;
    mlx5_cqe64 said;
    bool joins = false;
    uint32_t own_bytes = 0;
    std::vector<Piece> more{};
  };
  // Mapped, as a driver's rings are: a sanitizer would keep large ones for long after they were freed.
  struct Unmap {
    void operator()(mlx5_cqe64* ring) const { munmap(ring, bytes); }
    size_t bytes;
  };
  struct Completions {
    ibv_cq_ex* soft = nullptr;
    ibv_comp_channel* channel = nullptr;
    bool compressed = false;
    std::unique_ptr<mlx5_cqe64[], Unmap> ring;
    uint32_t count = 0;
    uint32_t number = 0;
    alignas(64) uint32_t records[2] = {};
    alignas(64) uint64_t registers[8] = {};  // MLX5_CQ_DOORBELL is at 32
    uint32_t written = 0;
    uint32_t events = 0;
    bool armed = false;
    uint32_t armed_at = 0;
    std::deque<Done> waiting{};  // for room

    uint32_t room() const;
  };
  struct Work {
    ibv_wq* soft = nullptr;
    Completions* completions = nullptr;
    std::unique_ptr<mlx5_wqe_data_seg[]> ring;
    uint32_t count = 0;
    alignas(64) uint32_t record = 0;
    uint16_t taken = 0;

    // Of a striding one, whose frames go through buffers of the card. A request is `ring[2 * i + 1]`.
    uint32_t log_stride = 0, log_strides = 0;  // zero: it is none
    std::vector<uint8_t> buffers{};
    ibv_mr* registered = nullptr;
    std::deque<Done> held{};  // frames in buffers for which there is no room
    uint16_t chunk = 0;
    uint32_t stride = 0;  // of the chunk that is filled

    bool strides() const { return log_strides != 0; }
    const mlx5_wqe_data_seg& At(uint16_t request) const;
  };

  void PutCallsInto(ibv_context& context);
  static ibv_wq* CreateWork(ibv_context* context, ibv_wq_init_attr* asked);
  static int ModifyWork(ibv_wq* queue, ibv_wq_attr* attr);
  static int DestroyWork(ibv_wq* queue);
  static ibv_rwq_ind_table* CreateTable(ibv_context* context, ibv_rwq_ind_table_init_attr* asked);
  static int DestroyTable(ibv_rwq_ind_table* table);

  static constexpr uint32_t kBuffers = 64, kBuffer = 2048;
  void PostBuffer(Work& work, uint32_t buffer);
  const uint8_t* BufferOf(const Work& work, uint32_t buffer) const {
    return &work.buffers[size_t{buffer} * kBuffer];
  }
  std::vector<uint8_t> PayloadOf(const Work& work, const Done& done) const;
  bool Join(Work& work, const Done& done);
  bool Stride(Work& work, Done done);
  void StrideHeld(Work& work);
  void TakePosted(Work& work);
  void TakeArrived(Work& work);
  void Describe(const Work& work, const uint8_t* frame, Done& done) const;
  void Write(Completions& to);
  void WriteOne(Completions& to, const Done& done);
  void WriteBlock(Completions& to, uint32_t members);
  void Place(Completions& to, uint32_t number, mlx5_cqe64 completion, uint8_t owner);
  void Wake(Completions& to);

  Mlx5StandIn& manner_;
  std::mutex mutex_;
  std::map<ibv_cq*, std::unique_ptr<Completions>> completions_;
  std::map<ibv_wq*, std::unique_ptr<Work>> work_;
  struct Table {
    ibv_rwq_ind_table* table;
    ibv_pd* domain;
  };
  std::map<uint32_t, Table> tables_;
  uint32_t join_most_ = 0;
  std::atomic<bool> running_{false};
  std::thread thread_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_MLX5_CARD_H_
