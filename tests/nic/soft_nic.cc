// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/soft_nic.h"

#include <endian.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "nic/softverbs/interposed_calls_internal.h"

namespace sluice::testing {
namespace {

template <typename T>
T* Must(T* made, const char* what) {
  if (made == nullptr) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
  return made;
}

}  // namespace

SoftNic::SoftNic(const SoftwareVerbsOptions& options, std::unique_ptr<Wire> wire) {
  auto made = SoftwareVerbs::Create(options, std::move(wire));
  if (!made.ok()) throw std::runtime_error(made.status().ToString());
  device_ = *std::move(made);
  context_ = Must(ibv_open_device(device_->device()), "ibv_open_device");
  domain_ = Must(ibv_alloc_pd(context_), "ibv_alloc_pd");
}

SoftNic::~SoftNic() {
  ibv_dealloc_pd(domain_);
  ibv_close_device(context_);
}

SoftCable::SoftCable(const SoftwareVerbsOptions& a, const SoftwareVerbsOptions& b)
    : SoftCable(a, b, MakeWirePair({.carries_offloads = false})) {}

SoftCable::SoftCable(const SoftwareVerbsOptions& a, const SoftwareVerbsOptions& b, Ends ends)
    : left(a, std::move(ends.first)), right(b, std::move(ends.second)) {}

FlowSpec::FlowSpec(ibv_flow_attr_type type, uint16_t priority, uint32_t flags)
    : bytes_(sizeof(ibv_flow_attr)) {
  attr()->type = type;
  attr()->priority = priority;
  attr()->flags = flags;
  attr()->port = 1;
}

FlowSpec& FlowSpec::Destination(const char* mac) {
  ibv_flow_spec_eth spec{};
  std::memcpy(spec.val.dst_mac, MacAddress::Parse(mac)->bytes().data(), 6);
  std::memset(spec.mask.dst_mac, 0xff, 6);
  return With(spec, IBV_FLOW_SPEC_ETH);
}

FlowSpec& FlowSpec::UdpTo(uint16_t port) {
  ibv_flow_spec_tcp_udp spec{};
  spec.val.dst_port = htobe16(port);
  spec.mask.dst_port = 0xffff;
  return With(spec, IBV_FLOW_SPEC_UDP);
}

FlowSpec& FlowSpec::Tag(uint32_t tag) {
  ibv_flow_spec_action_tag spec{};
  spec.tag_id = tag;
  return With(spec, IBV_FLOW_SPEC_ACTION_TAG);
}

FlowSpec& FlowSpec::Drop() { return With(ibv_flow_spec_action_drop{}, IBV_FLOW_SPEC_ACTION_DROP); }

RawPair::RawPair(SoftNic& nic, const RawPairOptions& options)
    : options_(options), memory_((2 * options.requests + 1) * kSlot) {
  region_ =
      Must(ibv_reg_mr(nic.domain(), memory_.data(), memory_.size(), IBV_ACCESS_LOCAL_WRITE), "ibv_reg_mr");
  cq_ = Must(ibv_create_cq(nic.context(), options.completions, nullptr, options.channel, 0), "ibv_create_cq");
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_CREATE_FLAGS;
  init.pd = nic.domain();
  if (options.block_own_multicast) init.create_flags = IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
  init.send_cq = init.recv_cq = cq_;
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.sq_sig_all = options.signal_all ? 1 : 0;
  init.cap = {.max_send_wr = options.requests,
              .max_recv_wr = options.requests,
              .max_send_sge = options.pieces,
              .max_recv_sge = options.pieces,
              .max_inline_data = options.inline_bytes};
  qp_ = Must(ibv_create_qp_ex(nic.context(), &init), "ibv_create_qp_ex");
  for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    if (SetState(state) != 0) throw std::runtime_error("ibv_modify_qp");
  }
}

RawPair::~RawPair() {
  for (ibv_flow* rule : rules_) ibv_destroy_flow(rule);
  ibv_destroy_qp(qp_);
  ibv_destroy_cq(cq_);
  ibv_dereg_mr(region_);
}

ibv_sge RawPair::Piece(size_t slot_number, size_t offset, size_t length) {
  return {.addr = reinterpret_cast<uint64_t>(slot(slot_number) + offset),
          .length = static_cast<uint32_t>(length),
          .lkey = region_->lkey};
}

int RawPair::SetState(ibv_qp_state state) {
  ibv_qp_attr attr{};
  attr.qp_state = state;
  attr.port_num = 1;
  return ibv_modify_qp(qp_, &attr, IBV_QP_STATE | (state == IBV_QPS_INIT ? IBV_QP_PORT : 0));
}

void RawPair::Steer(FlowSpec spec) {
  rules_.push_back(Must(ibv_create_flow(qp_, spec.attr()), "ibv_create_flow"));
}

int RawPair::PostReceive(size_t slot_number, uint32_t length) {
  ibv_sge piece = Piece(slot_number, 0, length);
  ibv_recv_wr request{};
  request.wr_id = slot_number;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  return ibv_post_recv(qp_, &request, &bad);
}

// One slot more than there are requests: what is refused may be written over, what waits may not.
int RawPair::Send(const Bytes& frame, unsigned int flags, uint64_t id) {
  const size_t at = options_.requests + next_send_ % (options_.requests + 1);
  std::memcpy(slot(at), frame.data(), frame.size());
  ibv_sge piece = Piece(at, 0, frame.size());
  ibv_send_wr request{};
  request.wr_id = id;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags = flags;
  const int error = Post(request);
  next_send_ += error == 0 ? 1 : 0;
  return error;
}

int RawPair::Post(ibv_send_wr request) {
  ibv_send_wr* bad = nullptr;
  return ibv_post_send(qp_, &request, &bad);
}

std::vector<ibv_wc> RawPair::Poll(size_t most) {
  constexpr int kTurns = 16;
  std::vector<ibv_wc> done;
  for (int idle = 0; idle < kTurns && done.size() < most;) {
    ibv_wc one{};
    if (ibv_poll_cq(cq_, 1, &one) == 1) {
      done.push_back(one);
    } else {
      ++idle;
    }
  }
  return done;
}

std::vector<Bytes> RawPair::Receive() {
  std::vector<Bytes> frames;
  for (const ibv_wc& done : Poll()) {
    if (done.status != IBV_WC_SUCCESS || done.opcode != IBV_WC_RECV) continue;
    const uint8_t* const at = slot(done.wr_id);
    frames.emplace_back(at, at + done.byte_len);
  }
  return frames;
}

ibv_qp* ExtendedPair(SoftNic& nic, ibv_cq* cq, ibv_qp_init_attr_ex init) {
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.pd = nic.domain();
  init.send_cq = init.recv_cq = cq;
  init.comp_mask |= IBV_QP_INIT_ATTR_PD;
  init.cap = {.max_send_wr = 16,
              .max_recv_wr = 64,
              .max_send_sge = 2,
              .max_recv_sge = 1,
              .max_inline_data = init.cap.max_inline_data};
  ibv_qp* const qp = ibv_create_qp_ex(nic.context(), &init);
  if (qp == nullptr) return nullptr;
  for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
    ibv_qp_attr attr{};
    attr.qp_state = state;
    attr.port_num = 1;
    if (ibv_modify_qp(qp, &attr, IBV_QP_STATE | (state == IBV_QPS_INIT ? IBV_QP_PORT : 0)) != 0)
      return nullptr;
  }
  return qp;
}

}  // namespace sluice::testing

// In libibverbs' place, which asks the kernel: so that all of this program's software devices have completion channels.
extern "C" ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  if (const auto* const calls = sluice::SoftCallsOf(context->device)) return calls->create_channel(context);
  errno = EOPNOTSUPP;
  return nullptr;
}
