// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_PRIVATE_ABI_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_PRIVATE_ABI_INTERNAL_H_

// What passes between libibverbs and a provider, private ABI 34 (symbol version IBVERBS_PRIVATE_34, rdma-core 36 to
// 56), as far as it is used here. Its header is not installed with libibverbs, so the layouts are described once more,
// and checked below: sizes and places on x86-64 and every other LP64 machine.
//
//   libibverbs ── match_device, alloc_device ──▶ VerbsDevice ── alloc_context ──▶ verbs_context ── VerbsContextOps ──▶
//
// A libibverbs of another private ABI lacks the symbol version: see private_library_internal.h.

#include <infiniband/verbs.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace sluice {

struct VerbsListNode {
  VerbsListNode* next;
  VerbsListNode* previous;
};

// The head of what libibverbs found in sysfs: as far as the name of the device.
struct VerbsSysfsDevice {
  VerbsListNode entry;
  void* provider_data;
  const void* match;
  unsigned int flags;
  char sysfs_name[IBV_SYSFS_NAME_MAX];
  dev_t cdev;
  char ibdev_name[IBV_SYSFS_NAME_MAX];
};
static_assert(offsetof(VerbsSysfsDevice, ibdev_name) == 112);

struct VerbsDeviceOps;

struct VerbsDevice {
  ibv_device device;
  const VerbsDeviceOps* ops;
  int refcount;  // of libibverbs, which changes it atomically
  VerbsListNode entry;
  VerbsSysfsDevice* sysfs;  // null: there are no files, and nothing is opened
  uint64_t core_support;
};
static_assert(offsetof(VerbsDevice, ops) == 664 && offsetof(VerbsDevice, sysfs) == 696);
static_assert(sizeof(VerbsDevice) == 712);

struct VerbsDeviceOps {
  const char* name;
  uint32_t match_min_abi_version;
  uint32_t match_max_abi_version;
  const void* match_table;
  const VerbsDeviceOps** static_providers;
  bool (*match_device)(VerbsSysfsDevice* sysfs);
  verbs_context* (*alloc_context)(ibv_device* device, int cmd_fd, void* private_data);
  verbs_context* (*import_context)(ibv_device* device, int cmd_fd);
  VerbsDevice* (*alloc_device)(VerbsSysfsDevice* sysfs);
  void (*uninit_device)(VerbsDevice* device);
};
static_assert(sizeof(VerbsDeviceOps) == 72);

// What ibv_mr is to libibverbs.
struct VerbsMr {
  ibv_mr mr;
  int type;  // 0 = of host memory
  int access;
};
static_assert(offsetof(VerbsMr, type) == 48 && offsetof(VerbsMr, access) == 52);

// A queue pair; `comp_mask` says whether ibv_qp_to_qp_ex finds the extended send calls.
struct VerbsQp {
  static constexpr uint32_t kExtendedSend = 1u << 1;

  union {
    ibv_qp qp;
    ibv_qp_ex qp_ex;
  };
  uint32_t comp_mask;
};
static_assert(offsetof(VerbsQp, comp_mask) == 352);

// The calls of a context, in alphabetical order. What stays null answers EOPNOTSUPP, which libibverbs sees to; calls that
// are never filled in here have no type.
struct VerbsContextOps {
  using Unused = void (*)();

  Unused advise_mr = nullptr;
  ibv_dm* (*alloc_dm)(ibv_context*, ibv_alloc_dm_attr*) = nullptr;
  Unused alloc_mw = nullptr;
  Unused alloc_null_mr = nullptr;
  ibv_pd* (*alloc_parent_domain)(ibv_context*, ibv_parent_domain_init_attr*) = nullptr;
  ibv_pd* (*alloc_pd)(ibv_context*) = nullptr;
  ibv_td* (*alloc_td)(ibv_context*, ibv_td_init_attr*) = nullptr;
  void (*async_event)(ibv_context*, ibv_async_event*) = nullptr;
  int (*attach_counters_point_flow)(ibv_counters*, ibv_counter_attach_attr*, ibv_flow*) = nullptr;
  int (*attach_mcast)(ibv_qp*, const ibv_gid*, uint16_t lid) = nullptr;
  Unused bind_mw = nullptr;
  Unused close_xrcd = nullptr;
  void (*cq_event)(ibv_cq*) = nullptr;
  Unused create_ah = nullptr;
  ibv_counters* (*create_counters)(ibv_context*, ibv_counters_init_attr*) = nullptr;
  ibv_cq* (*create_cq)(ibv_context*, int cqe, ibv_comp_channel*, int comp_vector) = nullptr;
  ibv_cq_ex* (*create_cq_ex)(ibv_context*, ibv_cq_init_attr_ex*) = nullptr;
  ibv_flow* (*create_flow)(ibv_qp*, ibv_flow_attr*) = nullptr;
  Unused create_flow_action_esp = nullptr;
  ibv_qp* (*create_qp)(ibv_pd*, ibv_qp_init_attr*) = nullptr;
  ibv_qp* (*create_qp_ex)(ibv_context*, ibv_qp_init_attr_ex*) = nullptr;
  ibv_rwq_ind_table* (*create_rwq_ind_table)(ibv_context*, ibv_rwq_ind_table_init_attr*) = nullptr;
  Unused create_srq = nullptr;
  Unused create_srq_ex = nullptr;
  ibv_wq* (*create_wq)(ibv_context*, ibv_wq_init_attr*) = nullptr;
  Unused dealloc_mw = nullptr;
  int (*dealloc_pd)(ibv_pd*) = nullptr;
  int (*dealloc_td)(ibv_td*) = nullptr;
  int (*dereg_mr)(VerbsMr*) = nullptr;
  Unused destroy_ah = nullptr;
  int (*destroy_counters)(ibv_counters*) = nullptr;
  int (*destroy_cq)(ibv_cq*) = nullptr;
  int (*destroy_flow)(ibv_flow*) = nullptr;
  Unused destroy_flow_action = nullptr;
  int (*destroy_qp)(ibv_qp*) = nullptr;
  int (*destroy_rwq_ind_table)(ibv_rwq_ind_table*) = nullptr;
  Unused destroy_srq = nullptr;
  int (*destroy_wq)(ibv_wq*) = nullptr;
  int (*detach_mcast)(ibv_qp*, const ibv_gid*, uint16_t lid) = nullptr;
  void (*free_context)(ibv_context*) = nullptr;
  int (*free_dm)(ibv_dm*) = nullptr;
  Unused get_srq_num = nullptr;
  Unused import_dm = nullptr;
  Unused import_mr = nullptr;
  Unused import_pd = nullptr;
  int (*modify_cq)(ibv_cq*, ibv_modify_cq_attr*) = nullptr;
  Unused modify_flow_action_esp = nullptr;
  int (*modify_qp)(ibv_qp*, ibv_qp_attr*, int mask) = nullptr;
  int (*modify_qp_rate_limit)(ibv_qp*, ibv_qp_rate_limit_attr*) = nullptr;
  Unused modify_srq = nullptr;
  int (*modify_wq)(ibv_wq*, ibv_wq_attr*) = nullptr;
  Unused open_qp = nullptr;
  Unused open_xrcd = nullptr;
  int (*poll_cq)(ibv_cq*, int entries, ibv_wc*) = nullptr;
  int (*post_recv)(ibv_qp*, ibv_recv_wr*, ibv_recv_wr** bad) = nullptr;
  int (*post_send)(ibv_qp*, ibv_send_wr*, ibv_send_wr** bad) = nullptr;
  Unused post_srq_ops = nullptr;
  Unused post_srq_recv = nullptr;
  int (*query_device_ex)(ibv_context*, const ibv_query_device_ex_input*, ibv_device_attr_ex*,
                         size_t size) = nullptr;
  Unused query_ece = nullptr;
  int (*query_port)(ibv_context*, uint8_t port, ibv_port_attr*) = nullptr;
  int (*query_qp)(ibv_qp*, ibv_qp_attr*, int mask, ibv_qp_init_attr*) = nullptr;
  Unused query_qp_data_in_order = nullptr;
  int (*query_rt_values)(ibv_context*, ibv_values_ex*) = nullptr;
  Unused query_srq = nullptr;
  int (*read_counters)(ibv_counters*, uint64_t*, uint32_t count, uint32_t flags) = nullptr;
  ibv_mr* (*reg_dm_mr)(ibv_pd*, ibv_dm*, uint64_t offset, size_t length, unsigned int access) = nullptr;
  Unused reg_dmabuf_mr = nullptr;
  ibv_mr* (*reg_mr)(ibv_pd*, void* address, size_t length, uint64_t iova, int access) = nullptr;
  int (*req_notify_cq)(ibv_cq*, int solicited_only) = nullptr;
  int (*rereg_mr)(VerbsMr*, int flags, ibv_pd*, void* address, size_t length, int access) = nullptr;
  int (*resize_cq)(ibv_cq*, int cqe) = nullptr;
  Unused set_ece = nullptr;
  Unused unimport_dm = nullptr;
  Unused unimport_mr = nullptr;
  Unused unimport_pd = nullptr;
};
static_assert(sizeof(VerbsContextOps) == 76 * sizeof(void*));

// A record on the descriptor of asynchronous events, as the kernel writes it.
struct VerbsAsyncRecord {
  uint64_t element;  // the object, or the number of the port
  uint32_t type;
  uint32_t reserved;
};
static_assert(sizeof(VerbsAsyncRecord) == 16);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_PRIVATE_ABI_INTERNAL_H_
