// SPDX-License-Identifier: Apache-2.0
// Completion queues.
#include <optional>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
ibv_wc_status StatusOf(const SoftCompletion& completion) {
  switch (completion.status) {
    case SoftStatus::kOk:
      return IBV_WC_SUCCESS;
    case SoftStatus::kTooLong:
      return IBV_WC_LOC_LEN_ERR;
    case SoftStatus::kNoAccess:
      return IBV_WC_LOC_PROT_ERR;
    case SoftStatus::kFlushed:
      break;
  }
  return IBV_WC_WR_FLUSH_ERR;
}

ibv_wc_opcode OpcodeOf(const SoftCompletion& completion) {
  if (completion.opcode == SoftOpcode::kReceive) return IBV_WC_RECV;
  return completion.opcode == SoftOpcode::kSend ? IBV_WC_SEND : IBV_WC_TSO;
}

unsigned int FlagsOf(const SoftCompletion& completion) {
  return completion.checksums_good ? static_cast<unsigned int>(IBV_WC_IP_CSUM_OK) : 0;
}

bool CqSizeFits(const SoftDevice& device, int64_t size) {
  return size >= 1 && size <= int64_t{device.hardware().max_completions};
}

namespace {

void Describe(const SoftCompletion& completion, ibv_wc& wc) {
  wc = {};
  wc.wr_id = completion.id;
  wc.status = StatusOf(completion);
  wc.opcode = OpcodeOf(completion);
  wc.byte_len = completion.bytes;
  wc.qp_num = completion.queue;
  wc.wc_flags = FlagsOf(completion);
}

}  // namespace

// libibverbs fills in what it shares with the program.
ibv_cq* CreateCq(ibv_context* context, int size, ibv_comp_channel* channel, int vector) {
  SoftDevice& device = DeviceOf(context);
  if (!CqSizeFits(device, size) || vector < 0 || vector >= context->num_comp_vectors) return Refuse(EINVAL);
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  if (!device.completion_queues.Take()) return Refuse(ENOMEM);
  auto* const cq =
      new SoftCq(static_cast<uint32_t>(size), device.clock, channel == nullptr ? -1 : channel->fd);
  cq->cqe = size;
  cq->context = context;  // orders from outside may find it at once
  cq->handle = ++device.last_completions;
  device.Burden(*cq);
  device.live_completions.push_back(cq);
  return ibv_cq_ex_to_cq(cq);
}

int ResizeCq(ibv_cq* cq, int size) {
  SoftDevice& device = DeviceOf(cq->context);
  if (!CqSizeFits(device, size)) return EINVAL;
  const std::lock_guard lock(device.gate);
  SoftCompletionQueue& queue = CqOf(cq).queue;
  if (!queue.CanResize(static_cast<uint32_t>(size))) return EINVAL;
  queue.Resize(static_cast<uint32_t>(size));
  cq->cqe = size;
  return 0;
}

int DestroyCq(ibv_cq* cq) {
  SoftDevice& device = DeviceOf(cq->context);
  {
    const std::lock_guard lock(device.gate);
    if (CqOf(cq).users > 0) return EBUSY;
    device.completion_queues.Give();
    std::erase(device.live_completions, &CqOf(cq));
    std::erase(device.overrun, &CqOf(cq));
  }
  SettleEvents(CqOf(cq));
  delete &CqOf(cq);
  return 0;
}

int PollCq(ibv_cq* cq, int most, ibv_wc* completions) {
  SoftDevice& device = DeviceOf(cq->context);
  const std::lock_guard lock(device.gate);
  SoftCompletionQueue& queue = CqOf(cq).queue;
  if (queue.looked_at()) return 0;  // by who polls it the other way
  if (queue.empty()) device.Step();
  int polled = 0;
  for (; polled < most && !queue.empty(); ++polled) Describe(queue.Pop(), completions[polled]);
  return polled;
}

}  // namespace sluice
