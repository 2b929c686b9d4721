// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_VERBS_OBJECTS_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_VERBS_OBJECTS_INTERNAL_H_

// What libibverbs holds by pointer: its own struct first, and behind it what we keep. And the calls of a context, which
// take the structs of verbs in, and call the model. As everywhere in verbs: who returns a pointer returns null and sets
// errno, who returns a number returns errno.

#include <infiniband/verbs.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "nic/softverbs/interposed_calls_internal.h"
#include "nic/softverbs/private_abi_internal.h"
#include "nic/softverbs/soft_device_internal.h"
#include "sluice/base/ids.h"

namespace sluice {

// A device as libibverbs lists it. Its model exists from the first open on.
struct SoftHandle : VerbsDevice {
  SoftHandle() : VerbsDevice{} {}

  MacAddress mac;
  std::shared_ptr<SoftDevice> model;
};

// libibverbs allocates it, all zero, and does not construct it.
struct SoftContext {
  verbs_context verbs;
  SoftDevice* device;
};

struct SoftDomain : ibv_pd {
  uint32_t number = 0;
  uint32_t users = 0;  // regions and queues
};

struct SoftDm : ibv_dm {
  SoftDm() : ibv_dm{} {}

  std::vector<uint8_t> bytes;
  uint32_t users = 0;  // regions
};

struct SoftCounters : ibv_counters {
  SoftCounters() : ibv_counters{} {}

  std::vector<std::pair<uint32_t, ibv_counter_description>> shown;  // by index
  std::vector<std::shared_ptr<RuleCounters>> hits;                  // of rules, of those that went too
  uint32_t users = 0;                                               // rules
};

struct SoftRegionHandle : VerbsMr {
  SoftDm* dm = nullptr;  // whose bytes these are
  SoftDomain* domain = nullptr;
};

struct SoftCq : ibv_cq_ex {
  SoftCq(uint32_t size, const Clock& clock, int pipe) : ibv_cq_ex{}, queue(size, clock), bell(this, pipe) {
    queue.Listen(&bell);
  }

  // Puts the queue into the pipe of its completion channel, as the kernel does.
  struct Bell final : SoftCompletionQueue::Listener {
    Bell(SoftCq* rung, int fd) : cq(rung), pipe(fd) {}
    void Ring() override;
    void Overrun() override;
    SoftCq* const cq;
    const int pipe;  // -1 = there is no channel
  };

  SoftCompletionQueue queue;
  Bell bell;
  size_t looked_at = 0;   // how many completions the program may look at, between start_poll and end_poll
  size_t current = 0;     // and at which of them it does
  uint32_t users = 0;     // queue pairs, once for each direction
  uint32_t events = 0;    // that the program has taken out of its channel, and has to acknowledge
  uint32_t failures = 0;  // likewise, of asynchronous events
};

struct SoftTable;

// Requests between ibv_wr_start and ibv_wr_complete. They are put together where they are to be posted, in the ring's free
// slots, which whoever holds the gate has to itself.
struct SoftBatch {
  std::mutex gate;
  uint64_t room = 0;  // slots that were free at the start
  uint64_t count = 0;
  int error = 0;
};

struct SoftQp : VerbsQp {
  SoftQp() : VerbsQp{} {}

  std::unique_ptr<SoftQueuePair> pair;
  std::unique_ptr<SoftBatch> batch;  // null without the extended send calls
  ibv_qp_init_attr init{};           // as it was granted
  SoftTable* table = nullptr;
  uint16_t max_headers = 0;  // of segmented sends; 0 = there are none
  uint32_t rules = 0;        // that deliver here, groups among them
  uint32_t failures = 0;     // as SoftCq's
  std::vector<std::pair<MacAddress, RuleId>> groups;
};

struct SoftWq : ibv_wq {
  SoftWq() : ibv_wq{} {}

  std::unique_ptr<SoftReceiveQueue> queue;
  uint32_t users = 0;     // indirection tables
  uint32_t failures = 0;  // as SoftCq's
};

struct SoftTable : ibv_rwq_ind_table {
  SoftTable() : ibv_rwq_ind_table{} {}

  std::vector<SoftWq*> queues;
  uint32_t users = 0;  // queue pairs
};

struct SoftFlow : ibv_flow {
  SoftQp* qp = nullptr;
  SoftCounters* counters = nullptr;
  RuleId rule{};
};

inline SoftContext& ContextOf(ibv_context* context) {
  return *reinterpret_cast<SoftContext*>(reinterpret_cast<char*>(context) - offsetof(verbs_context, context));
}
inline SoftDevice& DeviceOf(ibv_context* context) { return *ContextOf(context).device; }
inline SoftHandle& HandleOf(ibv_device* device) {
  return *static_cast<SoftHandle*>(reinterpret_cast<VerbsDevice*>(device));
}
inline SoftDomain& DomainOf(ibv_pd* pd) { return *static_cast<SoftDomain*>(pd); }

inline SoftWq& WqOf(ibv_wq* wq) { return *static_cast<SoftWq*>(wq); }
inline SoftCq& CqOf(ibv_cq* cq) { return *static_cast<SoftCq*>(reinterpret_cast<ibv_cq_ex*>(cq)); }
inline SoftQp& QpOf(ibv_qp* qp) { return *static_cast<SoftQp*>(reinterpret_cast<VerbsQp*>(qp)); }

// Sets errno for a call that returns a pointer.
inline std::nullptr_t Refuse(int error) {
  errno = error;
  return nullptr;
}

// verbs_query.cc
uint64_t SoftGuid(const MacAddress& mac);  // EUI-64 of a port (RFC 4291, appendix A), network order
int QueryDevice(ibv_context* context, const ibv_query_device_ex_input* input, ibv_device_attr_ex* attr,
                size_t size);
int QueryPort(ibv_context* context, uint8_t port, ibv_port_attr* attr);

// verbs_memory.cc
ibv_pd* AllocDomain(ibv_context* context);
int DeallocDomain(ibv_pd* pd);
ibv_mr* RegisterMemory(ibv_pd* pd, void* address, size_t length, uint64_t iova, int access);
int ReregisterMemory(VerbsMr* mr, int flags, ibv_pd* pd, void* address, size_t length, int access);
int DeregisterMemory(VerbsMr* mr);

// verbs_cq.cc
ibv_cq* CreateCq(ibv_context* context, int size, ibv_comp_channel* channel, int vector);
int ResizeCq(ibv_cq* cq, int size);
int DestroyCq(ibv_cq* cq);
int PollCq(ibv_cq* cq, int most, ibv_wc* completions);
bool CqSizeFits(const SoftDevice& device, int64_t size);
ibv_wc_status StatusOf(const SoftCompletion& completion);
ibv_wc_opcode OpcodeOf(const SoftCompletion& completion);
unsigned int FlagsOf(const SoftCompletion& completion);

// verbs_cq_ex.cc
ibv_cq_ex* CreateCqEx(ibv_context* context, ibv_cq_init_attr_ex* attr);
int QueryValues(ibv_context* context, ibv_values_ex* values);

// verbs_events.cc
ibv_comp_channel* CreateChannel(ibv_context* context);
int RequestNotify(ibv_cq* cq, int errors_only);
void OnCqEvent(ibv_cq* cq);
void OnAsyncEvent(ibv_context* context, ibv_async_event* event);
// To the program that made it. Under the gate.
void TellFailed(const SoftCq& cq);
void TellFailed(const SoftQp& qp);
void TellFailed(const SoftWq& wq);
// What the program has not seen is withdrawn; what it has seen is waited for. Before the queue goes, not under the gate.
void SettleEvents(SoftCq& cq);
void SettleEvents(SoftQp& qp);
void SettleEvents(SoftWq& wq);

// verbs_qp.cc
ibv_qp* CreateQp(ibv_pd* pd, ibv_qp_init_attr* attr);
ibv_qp* CreateQpEx(ibv_context* context, ibv_qp_init_attr_ex* attr);
int ModifyQp(ibv_qp* qp, ibv_qp_attr* attr, int mask);
int LimitRate(ibv_qp* qp, ibv_qp_rate_limit_attr* attr);
int QueryQp(ibv_qp* qp, ibv_qp_attr* attr, int mask, ibv_qp_init_attr* init);
int DestroyQp(ibv_qp* qp);

// verbs_wq.cc
ibv_wq* CreateWq(ibv_context* context, ibv_wq_init_attr* attr);
int ModifyWq(ibv_wq* wq, ibv_wq_attr* attr);
int DestroyWq(ibv_wq* wq);
ibv_rwq_ind_table* CreateTable(ibv_context* context, ibv_rwq_ind_table_init_attr* attr);
int DestroyTable(ibv_rwq_ind_table* table);
inline constexpr uint64_t kSoftHashFields =
    0xff | uint64_t{IBV_RX_HASH_INNER};  // addresses, ports, in a tunnel
bool CanHash(const SoftDevice& device, const ibv_rx_hash_conf& hash);
std::unique_ptr<SoftSpread> MakeSpread(const SoftTable& table, const ibv_rx_hash_conf& hash);

// verbs_wr.cc
void FillInSendCalls(SoftQp& made);

// verbs_post.cc
// Under the gate. An errno where the queue pair takes no sends; and what follows a post: it moves, or is flushed.
int WhyNoSends(const SoftQp& qp);
void GoOn(SoftQp& qp);
int PostReceives(SoftReceiveQueue& queue, ibv_recv_wr* request, ibv_recv_wr** bad);  // under the gate
int PostSend(ibv_qp* qp, ibv_send_wr* request, ibv_send_wr** bad);
int PostReceive(ibv_qp* qp, ibv_recv_wr* request, ibv_recv_wr** bad);

// verbs_flow.cc
ibv_flow* CreateFlow(ibv_qp* qp, ibv_flow_attr* attr);
int DestroyFlow(ibv_flow* flow);

// verbs_mcast.cc
int AttachMcast(ibv_qp* qp, const ibv_gid* gid, uint16_t lid);
int DetachMcast(ibv_qp* qp, const ibv_gid* gid, uint16_t lid);

// verbs_counters.cc
ibv_counters* CreateCounters(ibv_context* context, ibv_counters_init_attr* attr);
int DestroyCounters(ibv_counters* counters);
int AttachCounter(ibv_counters* counters, ibv_counter_attach_attr* attr, ibv_flow* flow);
int ReadCounters(ibv_counters* counters, uint64_t* values, uint32_t count, uint32_t flags);

// verbs_dm.cc
ibv_dm* AllocDm(ibv_context* context, ibv_alloc_dm_attr* attr);
int FreeDm(ibv_dm* dm);
ibv_mr* RegisterDm(ibv_pd* pd, ibv_dm* dm, uint64_t offset, size_t length, unsigned int access);

// verbs_open.cc
extern const SoftDeviceOps kSoftDeviceOps;

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_VERBS_OBJECTS_INTERNAL_H_
