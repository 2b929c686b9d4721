// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/mlx5/card.h"

#include <endian.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "tests/nic/mlx5/stand_in.h"

namespace sluice::testing {
namespace {

// The calls of the device below, which all of its contexts share.
struct Calls {
  decltype(verbs_context::create_wq) create_wq = nullptr;
  decltype(verbs_context::modify_wq) modify_wq = nullptr;
  decltype(verbs_context::destroy_wq) destroy_wq = nullptr;
  decltype(verbs_context::create_rwq_ind_table) create_table = nullptr;
  decltype(verbs_context::destroy_rwq_ind_table) destroy_table = nullptr;
};
Calls below;

constexpr uint8_t kTitle = 3 << 2;
constexpr uint32_t kBelow =
    4096;  // completions of the device below: more than requests that it has at a time
constexpr size_t kHashAt = 12, kHashKindAt = 16;  // in a completion: no names in mlx5dv.h

uint8_t* BytesOf(mlx5_cqe64& completion) { return reinterpret_cast<uint8_t*>(&completion); }

// As libmlx5 spells the same errors.
uint8_t SyndromeOf(ibv_wc_status status) {
  if (status == IBV_WC_LOC_LEN_ERR) return 0x01;
  return status == IBV_WC_LOC_PROT_ERR ? 0x04 : 0x05;
}

// What the two completions of a block must have in common: all but hash, bytes and counter, so that one of a striding queue
// is within a chunk.
bool Alike(const mlx5_cqe64& one, const mlx5_cqe64& other) {
  return one.wqe_id == other.wqe_id && one.hds_ip_ext == other.hds_ip_ext &&
         one.l4_hdr_type_etc == other.l4_hdr_type_etc && one.vlan_info == other.vlan_info &&
         one.sop_drop_qpn == other.sop_drop_qpn &&
         reinterpret_cast<const uint8_t*>(&one)[kHashKindAt] ==
             reinterpret_cast<const uint8_t*>(&other)[kHashKindAt];
}

// Of TCP and UDP right behind an IPv6 header, which the software device does not look at: RFC 8200, 8.1.
bool ChecksumGood(const uint8_t* ipv6) {
  const uint32_t length = uint32_t{ipv6[4]} << 8 | ipv6[5];
  uint32_t sum = length + ipv6[6];
  for (uint32_t i = 8; i < 40 + length; ++i) sum += i % 2 == 0 ? uint32_t{ipv6[i]} << 8 : ipv6[i];
  return sum % 0xffff == 0;
}

// Where things are in a segment of TCP; no payload: it is none that is joined.
struct Segment {
  Segment(const uint8_t* from, uint32_t bytes) : frame(from) {
    while (frame[ip - 2] == 0x81 && frame[ip - 1] == 0) ip += 4;
    six = frame[ip] >> 4 == 6;
    tcp = ip + (six ? 40u : (frame[ip] & 15u) * 4);
    data = tcp + (frame[tcp + 12] >> 4) * 4u;
    constexpr uint8_t kAlone = 1 | 2 | 4 | 32;  // FIN, SYN, RST, URG
    if ((frame[tcp + 13] & kAlone) != 0) return;
    const uint32_t end = ip + (six ? 40u + Read16(ip + 4) : Read16(ip + 2));
    payload = std::min(end, bytes) - data;
  }
  uint32_t Read16(uint32_t at) const { return uint32_t{frame[at]} << 8 | frame[at + 1]; }
  uint32_t sequence() const { return Read16(tcp + 4) << 16 | Read16(tcp + 6); }
  uint8_t ttl() const { return frame[ip + (six ? 7 : 8)]; }
  bool pushes() const { return (frame[tcp + 13] & 8) != 0; }
  // To the same address from the same one, and ports.
  bool Of(const Segment& other) const {
    const uint32_t addresses = six ? 8 : 12;
    return ip == other.ip && tcp == other.tcp && data == other.data && frame[ip] == other.frame[ip] &&
           std::memcmp(frame, other.frame, ip) == 0 &&
           std::memcmp(frame + ip + addresses, other.frame + ip + addresses, six ? 32 : 8) == 0 &&
           std::memcmp(frame + tcp, other.frame + tcp, 4) == 0;
  }

  const uint8_t* frame;
  uint32_t ip = 14, tcp = 0, data = 0, payload = 0;
  bool six = false;
};

// What of LRO is in a completion: the places of the card's manual.
constexpr size_t kFlagsAt = 4, kTtlAt = 5, kWindowAt = 6, kAcknowledgedAt = 8, kSumAt = 20, kSegmentsAt = 32;

constexpr uint8_t kPushed = 0x40;

uint16_t SumOf(const std::vector<uint8_t>& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? uint32_t{bytes[i]} << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

// That `last` came behind so many others.
void TellJoined(const Segment& first, const Segment& last, const std::vector<uint8_t>& payload, size_t others,
                mlx5_cqe64& completion) {
  uint8_t* const said = BytesOf(completion);
  said[kTtlAt] = std::min({others == 1 ? first.ttl() : said[kTtlAt], last.ttl()});
  said[kSegmentsAt] = static_cast<uint8_t>(1 + others);
  if (last.pushes()) said[kFlagsAt] |= kPushed;
  std::memcpy(said + kWindowAt, last.frame + last.tcp + 14, 2);
  std::memcpy(said + kAcknowledgedAt, last.frame + last.tcp + 8, 4);
  const uint16_t sum = htobe16(SumOf(payload));
  std::memcpy(said + kSumAt, &sum, sizeof(sum));
  completion.byte_cnt = htobe32(first.data + static_cast<uint32_t>(payload.size()));
}

}  // namespace

uint32_t Mlx5Card::Completions::room() const {
  const uint32_t read = be32toh(__atomic_load_n(&records[0], __ATOMIC_ACQUIRE));
  return count - ((written - read) & 0xffffff);
}

ibv_cq_ex* Mlx5Card::CreateCompletions(ibv_context* context, ibv_cq_init_attr_ex* asked,
                                       const mlx5dv_cq_init_attr* more) {
  ibv_cq_init_attr_ex below_asked = *asked;
  below_asked.cqe = std::min(asked->cqe, kBelow);
  below_asked.wc_flags |= IBV_WC_EX_WITH_BYTE_LEN | IBV_WC_EX_WITH_FLOW_TAG | IBV_WC_EX_WITH_CVLAN;
  ibv_cq_ex* const soft = ibv_create_cq_ex(context, &below_asked);
  if (soft == nullptr) return nullptr;
  const std::lock_guard lock(mutex_);
  PutCallsInto(*context);
  auto made = std::make_unique<Completions>();
  made->soft = soft;
  made->channel = asked->channel;
  made->compressed = (more->comp_mask & MLX5DV_CQ_INIT_ATTR_MASK_COMPRESSED_CQE) != 0;
  made->count = std::bit_ceil(asked->cqe + 1);
  made->number = 0x1234;
  const size_t bytes = made->count * sizeof(mlx5_cqe64);
  void* const ring = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  made->ring = {static_cast<mlx5_cqe64*>(ring), Unmap{bytes}};
  for (uint32_t i = 0; i < made->count; ++i) made->ring[i].op_own = MLX5_CQE_INVALID << 4;
  completions_[ibv_cq_ex_to_cq(soft)] = std::move(made);
  return soft;
}

void Mlx5Card::PutCallsInto(ibv_context& context) {
  verbs_context& calls = *verbs_get_ctx(&context);
  if (calls.create_wq == CreateWork) return;
  below = {calls.create_wq, calls.modify_wq, calls.destroy_wq, calls.create_rwq_ind_table,
           calls.destroy_rwq_ind_table};
  calls.create_wq = CreateWork;
  calls.modify_wq = ModifyWork;
  calls.destroy_wq = DestroyWork;
  calls.create_rwq_ind_table = CreateTable;
  calls.destroy_rwq_ind_table = DestroyTable;
}

ibv_rwq_ind_table* Mlx5Card::CreateTable(ibv_context* context, ibv_rwq_ind_table_init_attr* asked) {
  ibv_rwq_ind_table* const made = below.create_table(context, asked);
  if (made == nullptr) return nullptr;
  Mlx5Card& self = Only();
  const std::lock_guard lock(self.mutex_);
  self.tables_[static_cast<uint32_t>(made->ind_tbl_num)] = {made, asked->ind_tbl[0]->pd};
  return made;
}

int Mlx5Card::DestroyTable(ibv_rwq_ind_table* table) {
  Mlx5Card& self = Only();
  const auto number = static_cast<uint32_t>(table->ind_tbl_num);
  const int error = below.destroy_table(table);
  const std::lock_guard lock(self.mutex_);
  if (error == 0) self.tables_.erase(number);
  return error;
}

ibv_qp* Mlx5Card::CreateJoiningPair(ibv_context& context, uint32_t table, const ibv_rx_hash_conf& hash,
                                    uint32_t most) {
  ibv_qp_init_attr_ex asked{};
  {
    const std::lock_guard lock(mutex_);
    const auto known = tables_.find(table);
    errno = EINVAL;
    if (known == tables_.end()) return nullptr;
    asked.rwq_ind_tbl = known->second.table;
    asked.pd = known->second.domain;
    join_most_ = most;
  }
  asked.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_IND_TABLE | IBV_QP_INIT_ATTR_RX_HASH;
  asked.qp_type = IBV_QPT_RAW_PACKET;
  asked.rx_hash_conf = hash;
  return ibv_create_qp_ex(&context, &asked);
}

ibv_wq* Mlx5Card::CreateWork(ibv_context* context, ibv_wq_init_attr* asked) {
  ibv_wq* const soft = below.create_wq(context, asked);
  if (soft == nullptr) return nullptr;
  Mlx5Card& self = Only();
  const std::lock_guard lock(self.mutex_);
  const auto completions = self.completions_.find(asked->cq);
  if (completions == self.completions_.end()) return soft;
  auto made = std::make_unique<Work>();
  made->soft = soft;
  made->completions = completions->second.get();
  made->count = std::max(std::bit_ceil(asked->max_wr), 4u);
  made->ring = std::make_unique<mlx5_wqe_data_seg[]>(made->count);
  self.work_[soft] = std::move(made);
  return soft;
}

ibv_wq* Mlx5Card::CreateStriding(ibv_context* context, ibv_wq_init_attr* asked,
                                 const mlx5dv_wq_init_attr& more) {
  ibv_wq_init_attr below_asked = *asked;
  below_asked.max_wr = kBuffers;
  ibv_wq* const soft = CreateWork(context, &below_asked);
  if (soft == nullptr) return nullptr;
  const std::lock_guard lock(mutex_);
  Work& work = *work_.at(soft);
  work.count = std::max(std::bit_ceil(asked->max_wr), 2u);
  work.ring = std::make_unique<mlx5_wqe_data_seg[]>(size_t{work.count} * 2);
  work.log_stride = more.striding_rq_attrs.single_stride_log_num_of_bytes;
  work.log_strides = more.striding_rq_attrs.single_wqe_log_num_of_strides;
  work.buffers.resize(size_t{kBuffers} * kBuffer);
  work.registered = ibv_reg_mr(asked->pd, work.buffers.data(), work.buffers.size(), IBV_ACCESS_LOCAL_WRITE);
  return soft;
}

// Once a queue is in reset, nothing of before comes any more.
int Mlx5Card::ModifyWork(ibv_wq* queue, ibv_wq_attr* attr) {
  Mlx5Card& self = Only();
  const std::lock_guard lock(self.mutex_);
  const auto work = self.work_.find(queue);
  if (work != self.work_.end() && attr->wq_state == IBV_WQS_RESET) {
    self.TakeArrived(*work->second);
    self.Write(*work->second->completions);
    work->second->completions->waiting.clear();
    work->second->taken = work->second->chunk = 0;
    work->second->stride = 0;
    work->second->held.clear();
    work->second->record = 0;
  }
  const int error = below.modify_wq(queue, attr);
  if (error == 0 && work != self.work_.end() && attr->wq_state == IBV_WQS_RDY && work->second->strides()) {
    for (uint32_t i = 0; i < kBuffers; ++i) self.PostBuffer(*work->second, i);
  }
  return error;
}

int Mlx5Card::DestroyWork(ibv_wq* queue) {
  Mlx5Card& self = Only();
  const std::lock_guard lock(self.mutex_);
  const auto work = self.work_.find(queue);
  ibv_mr* const registered = work == self.work_.end() ? nullptr : work->second->registered;
  if (work != self.work_.end()) {
    self.completions_.erase(queue->cq);  // nobody looks there any more
    self.work_.erase(work);
  }
  const int error = below.destroy_wq(queue);
  if (registered != nullptr) ibv_dereg_mr(registered);
  return error;
}

int Mlx5Card::Tell(const mlx5dv_obj& what, uint64_t kinds) {
  const std::lock_guard lock(mutex_);
  if ((kinds & MLX5DV_OBJ_CQ) != 0) {
    Completions& known = *completions_.at(what.cq.in);
    *what.cq.out = {.buf = known.ring.get(),
                    .dbrec = known.records,
                    .cqe_cnt = known.count,
                    .cqe_size = manner_.completion_size,
                    .cq_uar = known.registers,
                    .cqn = known.number,
                    .comp_mask = 0};
  }
  if ((kinds & MLX5DV_OBJ_RWQ) != 0) {
    Work& known = *work_.at(what.rwq.in);
    *what.rwq.out = {.buf = known.ring.get(),
                     .dbrec = &known.record,
                     .wqe_cnt = known.count,
                     .stride = manner_.segment_size != 0 ? manner_.segment_size
                               : known.strides()         ? 32u
                                                         : 16u,
                     .comp_mask = 0};
  }
  if ((kinds & MLX5DV_OBJ_QP) != 0) {
    const uint64_t tells = manner_.tells_numbers ? uint64_t{MLX5DV_QP_MASK_RAW_QP_HANDLES} : 0;
    what.qp.out->comp_mask &= tells;
    what.qp.out->tisn = 0x515151;
  }
  return manner_.rings_error;
}

void Mlx5Card::Pump() {
  const std::lock_guard lock(mutex_);
  for (const auto& [queue, work] : work_) {
    TakePosted(*work);
    TakeArrived(*work);
    Write(*work->completions);
    Wake(*work->completions);
  }
}

void Mlx5Card::Run() {
  running_ = true;
  thread_ = std::thread([this] {
    while (running_) {
      Pump();
      std::this_thread::sleep_for(std::chrono::microseconds(5));
    }
  });
}

void Mlx5Card::Rest() {
  running_ = false;
  if (thread_.joinable()) thread_.join();
}

const mlx5_wqe_data_seg& Mlx5Card::Work::At(uint16_t request) const {
  const uint32_t at = request & (count - 1);
  return strides() ? ring[2 * at + 1] : ring[at];
}

void Mlx5Card::PostBuffer(Work& work, uint32_t buffer) {
  ibv_sge place = {.addr = reinterpret_cast<uintptr_t>(&work.buffers[size_t{buffer} * kBuffer]),
                   .length = kBuffer,
                   .lkey = work.registered->lkey};
  ibv_recv_wr request{};
  request.wr_id = buffer;
  request.sg_list = &place;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  (void)work.soft->post_recv(work.soft, &request, &bad);
}

// Copies a frame from its buffer to the next strides, behind a filler where the rest of a chunk is too short. False when
// there is no chunk.
bool Mlx5Card::Stride(Work& work, Done done) {
  const uint32_t length = be32toh(done.said.byte_cnt);
  manner_.joined += done.more.empty() ? 0u : 1u;
  const uint32_t needed = (length + (1u << work.log_stride) - 1) >> work.log_stride;
  const uint32_t strides = 1u << work.log_strides;
  const auto put = [&](mlx5_cqe64 said, uint32_t bytes, uint32_t took) {
    said.wqe_id = htobe16(work.chunk);
    said.wqe_counter = htobe16(static_cast<uint16_t>(work.stride));
    said.byte_cnt = htobe32(bytes | took << 16);
    work.completions->waiting.push_back({.counter = done.counter, .status = IBV_WC_SUCCESS, .said = said});
    work.stride += took;
    if (work.stride < strides) return;
    work.stride = 0;
    ++work.chunk;
  };
  if (work.chunk == work.taken) return false;
  if (needed > strides - work.stride) {
    if (static_cast<uint16_t>(work.chunk + 1) == work.taken) return false;
    put(done.said, 1u << 31, strides - work.stride);
    ++manner_.fillers;
  }
  const mlx5_wqe_data_seg& segment = work.At(work.chunk);
  uint8_t* to = reinterpret_cast<uint8_t*>(be64toh(segment.addr)) + (work.stride << work.log_stride);
  std::memcpy(to, BufferOf(work, done.counter), done.own_bytes);
  to += done.own_bytes;
  for (const Piece& piece : done.more) {
    std::memcpy(to, BufferOf(work, piece.counter) + piece.at, piece.bytes);
    to += piece.bytes;
    PostBuffer(work, piece.counter);
  }
  put(done.said, length, needed);
  PostBuffer(work, done.counter);
  return true;
}

std::vector<uint8_t> Mlx5Card::PayloadOf(const Work& work, const Done& done) const {
  const Segment first(BufferOf(work, done.counter), done.own_bytes);
  std::vector<uint8_t> payload(first.frame + first.data, first.frame + first.data + first.payload);
  for (const Piece& piece : done.more) {
    const uint8_t* const from = BufferOf(work, piece.counter) + piece.at;
    payload.insert(payload.end(), from, from + piece.bytes);
  }
  return payload;
}

// To the last that is held of the same flow, if this is what comes next there.
bool Mlx5Card::Join(Work& work, const Done& done) {
  if (!done.joins) return false;
  const Segment next(BufferOf(work, done.counter), done.own_bytes);
  const auto held = std::find_if(work.held.rbegin(), work.held.rend(), [&](const Done& one) {
    return one.joins && next.Of(Segment(BufferOf(work, one.counter), one.own_bytes));
  });
  if (held == work.held.rend()) return false;
  const Segment first(BufferOf(work, held->counter), held->own_bytes);
  const size_t before = PayloadOf(work, *held).size();
  const bool open = first.payload != 0 && !first.pushes() && (BytesOf(held->said)[kFlagsAt] & kPushed) == 0;
  const bool follows = next.payload != 0 && next.sequence() == first.sequence() + before;
  if (!open || !follows || first.data - first.tcp + before + next.payload > join_most_) return false;
  held->more.push_back({.counter = done.counter, .at = next.data, .bytes = next.payload});
  TellJoined(first, next, PayloadOf(work, *held), held->more.size(), held->said);
  return true;
}

void Mlx5Card::StrideHeld(Work& work) {
  while (!work.held.empty() && Stride(work, work.held.front())) work.held.pop_front();
}

void Mlx5Card::TakePosted(Work& work) {
  const auto told = static_cast<uint16_t>(be32toh(__atomic_load_n(&work.record, __ATOMIC_ACQUIRE)));
  if (work.strides()) {
    work.taken = told;
    return StrideHeld(work);
  }
  for (; work.taken != told; ++work.taken) {
    const mlx5_wqe_data_seg& segment = work.At(work.taken);
    ibv_sge place = {
        .addr = be64toh(segment.addr), .length = be32toh(segment.byte_count), .lkey = be32toh(segment.lkey)};
    ibv_recv_wr request{};
    request.wr_id = work.taken;
    request.sg_list = &place;
    request.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    if (work.soft->post_recv(work.soft, &request, &bad) != 0) return;
  }
}

void Mlx5Card::TakeArrived(Work& work) {
  Completions& to = *work.completions;
  ibv_poll_cq_attr attr{};
  if (ibv_start_poll(to.soft, &attr) != 0) return;
  do {
    Done done{.counter = static_cast<uint16_t>(to.soft->wr_id), .status = to.soft->status, .said = {}};
    done.said.wqe_counter = htobe16(done.counter);
    const bool came = done.status == IBV_WC_SUCCESS;
    done.said.op_own = static_cast<uint8_t>((came ? MLX5_CQE_RESP_SEND : MLX5_CQE_RESP_ERR) << 4);
    if (came) {
      const mlx5_wqe_data_seg& segment = work.At(done.counter);
      Describe(work,
               work.strides() ? &work.buffers[size_t{done.counter} * kBuffer]
                              : reinterpret_cast<const uint8_t*>(be64toh(segment.addr)),
               done);
    } else {
      BytesOf(done.said)[offsetof(mlx5_err_cqe, syndrome)] = SyndromeOf(done.status);
    }
    if (!work.strides()) {
      to.waiting.push_back(done);
    } else if (came) {
      if (!Join(work, done)) work.held.push_back(done);
    } else if (done.counter == 0) {
      to.waiting.push_back(done);  // one for the queue, and not for each buffer of the card
    }
  } while (ibv_next_poll(to.soft) == 0);
  ibv_end_poll(to.soft);
  if (work.strides()) StrideHeld(work);
}

// As a card that hashes the ports of what is no fragment, and its hash is these ports.
void Mlx5Card::Describe(const Work& work, const uint8_t* frame, Done& done) const {
  ibv_cq_ex* const from = work.completions->soft;
  mlx5_cqe64& said = done.said;
  done.own_bytes = ibv_wc_read_byte_len(from);
  said.byte_cnt = htobe32(done.own_bytes);
  uint32_t mark = ibv_wc_read_flow_tag(from);
  done.joins = mark == kJoining;
  if (done.joins) mark = 0;
  said.sop_drop_qpn = htobe32(uint32_t{0x0a} << 24 | mark);  // the opcode is above the mark
  if (from->read_completion_ts != nullptr) said.timestamp = htobe64(ibv_wc_read_completion_ts(from));
  if (const uint16_t tag = ibv_wc_read_cvlan(from); tag != 0) {
    said.vlan_info = htobe16(tag);
    said.l4_hdr_type_etc = 1;
  }
  const bool six = frame[12] == 0x86 && frame[13] == 0xdd;
  const bool four = frame[12] == 0x08 && frame[13] == 0x00;
  if (!four && !six) return;
  const uint8_t protocol = frame[14 + (six ? 6 : 9)];
  const unsigned ports = protocol == 6 ? 1 : protocol == 17 ? 2 : 0;  // TCP and UDP
  said.l4_hdr_type_etc = static_cast<uint8_t>(
      said.l4_hdr_type_etc | (six ? MLX5_CQE_L3_HDR_TYPE_IPV6 : MLX5_CQE_L3_HDR_TYPE_IPV4) << 2 |
      (protocol == 6 ? 4 : ports) << 4);
  const bool good =
      four ? (ibv_wc_read_wc_flags(from) & IBV_WC_IP_CSUM_OK) != 0 : ports != 0 && ChecksumGood(frame + 14);
  if (good) said.hds_ip_ext = MLX5_CQE_L2_OK | MLX5_CQE_L3_OK | MLX5_CQE_L4_OK;
  BytesOf(said)[kHashKindAt] = static_cast<uint8_t>((six ? 2 : 1) << 2 | ports << 6);
  std::memcpy(BytesOf(said) + kHashAt, frame + 14 + (six ? 40 : 20), 4);
}

void Mlx5Card::Write(Completions& to) {
  while (!to.waiting.empty() && to.room() > 0) {
    uint32_t members = 1;
    const uint32_t most =
        to.compressed ? std::min({manner_.most_in_block, to.room(), static_cast<uint32_t>(to.waiting.size())})
                      : 1;
    const Done& first = to.waiting.front();
    while (members < most && first.status == IBV_WC_SUCCESS) {
      const Done& next = to.waiting[members];
      if (next.status != IBV_WC_SUCCESS || !Alike(first.said, next.said)) break;
      ++members;
    }
    members > 1 ? WriteBlock(to, members) : WriteOne(to, first);
    to.waiting.erase(to.waiting.begin(), to.waiting.begin() + members);
  }
}

void Mlx5Card::Place(Completions& to, uint32_t number, mlx5_cqe64 completion, uint8_t owner) {
  completion.op_own = 0;
  mlx5_cqe64& place = to.ring[number & (to.count - 1)];
  std::memcpy(&place, &completion, offsetof(mlx5_cqe64, op_own));
  const uint8_t round = (number & to.count) != 0 ? 1 : 0;
  __atomic_store_n(&place.op_own, static_cast<uint8_t>(owner | round), __ATOMIC_RELEASE);
}

void Mlx5Card::WriteOne(Completions& to, const Done& done) {
  mlx5_cqe64 said = done.said;
  if (manner_.spoil) manner_.spoil(said);
  Place(to, to.written++, said, said.op_own);
}

// The title last: what belongs to it is there when it is seen.
void Mlx5Card::WriteBlock(Completions& to, uint32_t members) {
  for (uint32_t i = 0; i < members; i += 8) {
    uint32_t minis[16] = {};
    for (uint32_t j = 0; j < 8 && i + j < members; ++j) {
      std::memcpy(&minis[2 * j], BytesOf(to.waiting[i + j].said) + kHashAt, 4);
      minis[2 * j + 1] = to.waiting[i + j].said.byte_cnt;
    }
    std::memcpy(&to.ring[(to.written + (i == 0 ? 1 : i)) & (to.count - 1)], minis, sizeof(minis));
  }
  mlx5_cqe64 title = to.waiting.front().said;
  title.byte_cnt = htobe32(members);
  title.op_own |= kTitle;
  if (manner_.spoil) manner_.spoil(title);
  Place(to, to.written, title, title.op_own);
  to.written += members;
  ++manner_.blocks;
}

void Mlx5Card::Wake(Completions& to) {
  const uint64_t rung =
      be64toh(__atomic_exchange_n(&to.registers[MLX5_CQ_DOORBELL / 8], 0, __ATOMIC_ACQUIRE));
  const auto asked = static_cast<uint32_t>(rung >> 32);
  const bool known = static_cast<uint32_t>(rung) == to.number && asked == be32toh(to.records[1]) &&
                     asked >> 28 == (to.events & 3);
  if (known) {
    to.armed = true;
    to.armed_at = asked & 0xffffff;
  }
  if (!to.armed || (to.written & 0xffffff) == to.armed_at || to.channel == nullptr) return;
  to.armed = false;
  ++to.events;
  const auto event = reinterpret_cast<uint64_t>(ibv_cq_ex_to_cq(to.soft));
  (void)!write(to.channel->fd, &event, sizeof(event));
}

}  // namespace sluice::testing
