// SPDX-License-Identifier: Apache-2.0
// One end of a cable, on bare libxdp: the loop that one would write by hand for this work alone, with one UMEM whose
// frames never leave it. See xdp_end.h; and besides
//
//   --mode=generate   feeds with XDP frames that the kernel makes itself, without a socket: some four times as fast. The
//                     far end must have an XDP program, so start it first.

#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "benchmarks/nic/xdp_end.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kFrameSize = 2048;

class BareSocket {
 public:
  // 0 or errno.
  int Open(const XdpEndOptions& options) {
    ring_ = options.ring;
    const size_t bytes = size_t{2} * ring_ * kFrameSize;
    memory_ = static_cast<uint8_t*>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    if (memory_ == MAP_FAILED) return errno;
    const xsk_umem_config umem{
        .fill_size = ring_, .comp_size = ring_, .frame_size = kFrameSize, .frame_headroom = 0, .flags = 0};
    if (const int error = xsk_umem__create(&umem_, memory_, bytes, &fill_, &completion_, &umem))
      return -error;
    xsk_socket_config config{};
    config.rx_size = config.tx_size = ring_;
    config.xdp_flags = XDP_FLAGS_DRV_MODE;
    config.bind_flags = XDP_USE_NEED_WAKEUP;
    // A sender ends by a signal, and would leave the program behind.
    if (options.mode == "send") config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
    return -xsk_socket__create(&socket_, options.interface.c_str(), 0, umem_, &rx_, &tx_, &config);
  }
  ~BareSocket() {
    if (socket_ != nullptr) xsk_socket__delete(socket_);
    if (umem_ != nullptr) xsk_umem__delete(umem_);
  }

  int fd() const { return xsk_socket__fd(socket_); }
  uint8_t* frame(uint64_t address) { return memory_ + address; }

  void FillAll() {
    uint32_t at = 0;
    xsk_ring_prod__reserve(&fill_, ring_, &at);
    for (uint32_t i = 0; i < ring_; ++i) *xsk_ring_prod__fill_addr(&fill_, at + i) = uint64_t{i} * kFrameSize;
    xsk_ring_prod__submit(&fill_, ring_);
  }

  // Each of up to a burst of arrivals goes to `each`; returns how many.
  template <typename Each>
  uint32_t Receive(Each&& each) {
    uint32_t at = 0;
    const uint32_t got = xsk_ring_cons__peek(&rx_, kXdpBurst, &at);
    for (uint32_t i = 0; i < got; ++i) each(*xsk_ring_cons__rx_desc(&rx_, at + i));
    if (got != 0) xsk_ring_cons__release(&rx_, got);
    return got;
  }

  // Frames back to the kernel, for arrivals; there is always room for those that came from it.
  void Refill(const uint64_t* addresses, uint32_t count) {
    uint32_t at = 0;
    while (xsk_ring_prod__reserve(&fill_, count, &at) != count) Wake();
    for (uint32_t i = 0; i < count; ++i) *xsk_ring_prod__fill_addr(&fill_, at + i) = addresses[i];
    xsk_ring_prod__submit(&fill_, count);
    if (xsk_ring_prod__needs_wakeup(&fill_)) recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  }

  // All of them, however long that takes.
  void Send(const xdp_desc* frames, uint32_t count) {
    uint32_t at = 0;
    while (xsk_ring_prod__reserve(&tx_, count, &at) != count) Wake();
    for (uint32_t i = 0; i < count; ++i) *xsk_ring_prod__tx_desc(&tx_, at + i) = frames[i];
    xsk_ring_prod__submit(&tx_, count);
    outstanding_ += count;
    Wake();
  }

  // Frames whose sending is done, to `addresses` of room for a burst; returns how many.
  uint32_t Complete(uint64_t* addresses) {
    uint32_t at = 0;
    const uint32_t got = xsk_ring_cons__peek(&completion_, kXdpBurst, &at);
    for (uint32_t i = 0; i < got; ++i) addresses[i] = *xsk_ring_cons__comp_addr(&completion_, at + i);
    if (got != 0) xsk_ring_cons__release(&completion_, got);
    outstanding_ -= got;
    return got;
  }

  uint32_t outstanding() const { return outstanding_; }
  void Wake() {
    if (xsk_ring_prod__needs_wakeup(&tx_)) sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
  }

 private:
  uint32_t ring_ = 0;
  uint32_t outstanding_ = 0;
  uint8_t* memory_ = nullptr;
  xsk_umem* umem_ = nullptr;
  xsk_socket* socket_ = nullptr;
  xsk_ring_prod fill_{};
  xsk_ring_cons completion_{};
  xsk_ring_cons rx_{};
  xsk_ring_prod tx_{};
};

void Idle(const XdpEndOptions& options, BareSocket& socket) {
  if (options.sleeps()) WaitReadable(socket.fd());
}

// Endless. Writes headers into each frame, as any sender must.
void Send(BareSocket& socket, const XdpEndOptions& options) {
  Pace pace(options.rate);
  std::array<xdp_desc, kXdpBurst> frames{};
  std::array<uint64_t, kXdpBurst> done{};
  std::vector<uint64_t> free;
  for (uint64_t i = 0; i < options.ring; ++i) free.push_back(i * kFrameSize);
  while (true) {
    for (uint32_t n = socket.Complete(done.data()); n != 0; n = socket.Complete(done.data())) {
      free.insert(free.end(), done.begin(), done.begin() + n);
    }
    const auto count = static_cast<uint32_t>(std::min<size_t>(pace.Next(), free.size()));
    if (count == 0) {
      if (socket.outstanding() != 0) socket.Wake();
      continue;
    }
    for (uint32_t i = 0; i < count; ++i, free.pop_back()) {
      frames[i] = {.addr = free.back(), .len = options.length, .options = 0};
      std::memcpy(socket.frame(free.back()), kTestFrame, sizeof kTestFrame);
    }
    socket.Send(frames.data(), count);
    pace.Sent(count);
  }
}

void Receive(BareSocket& socket, const XdpEndOptions& options, MeasuringEnd& end) {
  std::array<uint64_t, kXdpBurst> back{};
  while (!end.Done()) {
    uint32_t count = 0;
    socket.Receive([&](const xdp_desc& frame) {
      end.Check(socket.frame(frame.addr), frame.len);
      back[count++] = frame.addr & ~uint64_t{kFrameSize - 1};
    });
    if (count == 0) {
      Idle(options, socket);
      continue;
    }
    socket.Refill(back.data(), count);
    end.Count(count);
  }
}

void Forward(BareSocket& socket, const XdpEndOptions& options, MeasuringEnd& end) {
  std::array<uint64_t, kXdpBurst> back{};
  std::array<xdp_desc, kXdpBurst> frames{};
  while (!end.Done()) {
    if (const uint32_t done = socket.Complete(back.data())) {
      for (uint32_t i = 0; i < done; ++i) back[i] &= ~uint64_t{kFrameSize - 1};
      socket.Refill(back.data(), done);
    }
    uint32_t count = 0;
    socket.Receive([&](const xdp_desc& frame) {
      end.Check(socket.frame(frame.addr), frame.len);
      SwapAddresses(socket.frame(frame.addr));
      frames[count++] = {.addr = frame.addr, .len = frame.len, .options = 0};
    });
    if (count != 0) {
      socket.Send(frames.data(), count);
      end.Count(count);
    } else if (socket.outstanding() == 0) {
      Idle(options, socket);
    } else {
      socket.Wake();
    }
  }
}

// return bpf_redirect(interface, 0);
int LoadRedirect(int interface) {
  bpf_insn code[4]{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[0].dst_reg = BPF_REG_1;
  code[0].imm = interface;
  code[1].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[1].dst_reg = BPF_REG_2;
  code[2].code = BPF_JMP | BPF_CALL;
  code[2].imm = BPF_FUNC_redirect;
  code[3].code = BPF_JMP | BPF_EXIT;
  return bpf_prog_load(BPF_PROG_TYPE_XDP, "generate", "Apache-2.0", code, 4, nullptr);
}

// Endless, but for an error.
int Generate(const XdpEndOptions& options) {
  const int program = LoadRedirect(static_cast<int>(if_nametoindex(options.interface.c_str())));
  if (program < 0) return errno;
  std::vector<uint8_t> frame(options.length);
  std::memcpy(frame.data(), kTestFrame, sizeof kTestFrame);
  xdp_md context{};
  context.data_end = options.length;
  SayReady();
  while (true) {
    bpf_test_run_opts run{};
    run.sz = sizeof run;
    run.data_in = frame.data();
    run.data_size_in = options.length;
    run.ctx_in = &context;
    run.ctx_size_in = sizeof context;
    run.repeat = 1 << 16;
    run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    run.batch_size = 64;
    if (bpf_prog_test_run_opts(program, &run) != 0) return errno;
  }
}

int Fail(int error) { return std::fprintf(stderr, "xsk_peer: %s\n", std::strerror(error)), 1; }

int Run(const XdpEndOptions& options) {
  PinThisProcess(options.cpu);
  libxdp_set_print([](libxdp_print_level, const char*, va_list) { return 0; });
  if (options.mode == "generate") return Fail(Generate(options));
  BareSocket socket;
  if (const int error = socket.Open(options)) return Fail(error);
  MeasuringEnd end(options.length, options.seconds);
  if (options.mode != "send") socket.FillAll();
  SayReady();
  if (options.mode == "send") Send(socket, options);
  if (options.mode == "receive") Receive(socket, options, end);
  if (options.mode == "forward") Forward(socket, options, end);
  end.Print();
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::XdpEndOptions options;
  if (!sluice::bench::ParseXdpOptions(argc, argv, options)) {
    return std::fprintf(stderr, "usage: xsk_peer --mode=send|generate|receive|forward --interface=NAME\n"), 2;
  }
  return sluice::bench::Run(options);
}
