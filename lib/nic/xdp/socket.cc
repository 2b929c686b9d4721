// SPDX-License-Identifier: Apache-2.0
// Making sockets: memory registered, rings mapped, bound, busy polling set; and each refusal explained.

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nic/xdp/socket_internal.h"
#include "sluice/base/status.h"

// Newer than Debian 12's <linux/if_xdp.h>: Linux 6.17, include/uapi/linux/if_xdp.h.
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

namespace sluice {
namespace {

constexpr uint32_t kXdpHeadroom = 256;  // XDP_PACKET_HEADROOM, in front of every frame

// The kernel frees a queue in a work item some time after the last descriptor is closed
// (net/xdp/xsk_buff_pool.c, xp_put_pool).
constexpr absl::Duration kQueueRelease = absl::Milliseconds(200);
constexpr absl::Duration kQueueReleaseStep = absl::Milliseconds(2);

constexpr char kPrivileges[] = "run with CAP_NET_RAW, CAP_BPF and CAP_NET_ADMIN, or as root";

std::string MemlockRemedy(size_t bytes) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return absl::StrCat("the pool's region of ", bytes >> 10, " KiB must be locked, and RLIMIT_MEMLOCK is ",
                      limit.rlim_cur >> 10,
                      " KiB: raise it (`ulimit -l unlimited`, LimitMEMLOCK=infinity), grant CAP_IPC_LOCK, or "
                      "use a smaller pool");
}

absl::Status RegisterFailed(const XdpSockets::Plan& plan, int error) {
  const bool memory = error == ENOBUFS || error == ENOMEM;
  const char* otherwise = error == EPERM ? kPrivileges : "use a kernel with CONFIG_XDP_SOCKETS";
  return ErrorStatus({.device = plan.device,
                      .stage = "register memory",
                      .capability = "UMEM",
                      .error_number = error,
                      .what = {},
                      .remedy = memory ? MemlockRemedy(plan.pool->region().size()) : otherwise});
}

std::string RemedyForBind(int error) {
  switch (error) {
    case EBUSY:
      return "stop the owner of the queue's AF_XDP socket; `ss --xdp -p` names it";
    case EOPNOTSUPP:
      return "use zero_copy=prefer, or a driver with zero-copy";
    case EPERM:
      return kPrivileges;
    case ENETDOWN:
      return "set the interface up with `ip link set IFACE up`";
    case ENODEV:
      return "the interface has gone: open the port again";
    case EINVAL:
      return "ask for queues that the device has; see `ethtool -l`";
    default:
      return "see dmesg for the driver's reason";
  }
}

absl::Status BindFailed(const XdpSockets::Plan& plan, uint32_t queue, int error) {
  return ErrorStatus({.device = plan.device,
                      .stage = absl::StrCat("bind queue ", queue),
                      .capability = error == EOPNOTSUPP ? "zero-copy" : "",
                      .error_number = error,
                      .what = error == EBUSY ? "an AF_XDP socket of another owner has the queue" : "",
                      .remedy = RemedyForBind(error)});
}

uint16_t BindFlags(Want zero_copy) {
  uint16_t flags = XDP_USE_NEED_WAKEUP;
  if (zero_copy == Want::kRequire) flags |= XDP_ZEROCOPY;
  if (zero_copy == Want::kOff) flags |= XDP_COPY;
  return flags;
}

bool IsZeroCopy(int fd) {
  xdp_options options{};
  socklen_t size = sizeof(options);
  return getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &size) == 0 &&
         (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

int SetOption(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : errno;
}

// 0 or errno. See "SO_PREFER_BUSY_POLL" in the kernel's networking/af_xdp.rst.
int BusyPoll(int fd, const XdpNicOptions& options) {
  const auto microseconds = static_cast<int>(absl::ToInt64Microseconds(options.busy_poll_time));
  int error = SetOption(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
  if (error == 0) error = SetOption(fd, SOL_SOCKET, SO_BUSY_POLL, microseconds);
  if (error == 0) {
    error = SetOption(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, static_cast<int>(options.busy_poll_budget));
  }
  return error;
}

}  // namespace

uint32_t XdpSockets::Headroom(const PacketPool& pool) {
  return std::max(kXdpHeadroom, pool.options().headroom);
}

absl::StatusOr<std::unique_ptr<XdpSockets>> XdpSockets::Open(const Plan& plan) {
  const absl::Time deadline = absl::Now() + kQueueRelease;
  for (;;) {
    auto sockets = std::unique_ptr<XdpSockets>(new XdpSockets);
    const absl::Status opened = sockets->OpenAll(plan);
    if (opened.ok()) return sockets;
    if (ProblemOf(opened)->error_number != EBUSY || absl::Now() >= deadline) return opened;
    sockets.reset();
    absl::SleepFor(kQueueReleaseStep);
  }
}

XdpSockets::~XdpSockets() {
  sockets_.clear();  // before the memory that they work on
  if (umem_ != nullptr) xsk_umem__delete(umem_);
}

absl::Status XdpSockets::OpenAll(const Plan& plan) {
  if (const int error = Register(plan)) return RegisterFailed(plan, error);
  for (uint32_t queue = 0; queue < std::max(plan.rx_queues, plan.tx_queues); ++queue) {
    if (const int error = Bind(plan, queue)) return BindFailed(plan, queue, error);
  }
  return SetBusyPoll(plan);
}

int XdpSockets::Register(const Plan& plan) {
  sockets_.push_back(std::make_unique<XdpSocket>());  // libxdp makes the rings of the first with the UMEM
  const xsk_umem_config config{.fill_size = plan.rx_ring,
                               .comp_size = plan.tx_ring,
                               .frame_size = plan.pool->options().buffer_size,
                               .frame_headroom = Headroom(*plan.pool) - kXdpHeadroom,
                               .flags = 0};
  const Region& region = plan.pool->region();
  return -xsk_umem__create(&umem_, region.data(), region.size(), &sockets_[0]->fill, &sockets_[0]->completion,
                           &config);
}

int XdpSockets::Bind(const Plan& plan, uint32_t queue) {
  if (queue == sockets_.size()) sockets_.push_back(std::make_unique<XdpSocket>());
  XdpSocket& made = *sockets_[queue];
  xsk_socket_config config{};
  config.rx_size = plan.rx_ring;
  config.tx_size = plan.tx_ring;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags = BindFlags(plan.options.zero_copy);
  const int error = -xsk_socket__create_shared(
      &made.socket_, plan.interface.c_str(), queue, umem_, queue < plan.rx_queues ? &made.rx : nullptr,
      queue < plan.tx_queues ? &made.tx : nullptr, &made.fill, &made.completion, &config);
  if (error != 0) return error;
  made.fd_ = xsk_socket__fd(made.socket_);
  made.zero_copy_ = IsZeroCopy(made.fd_);
  // Lets one doorbell send a whole burst; an older kernel takes 32 frames a ring, and is rung again.
  SetOption(made.fd_, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, static_cast<int>(plan.tx_ring));
  return 0;
}

absl::Status XdpSockets::SetBusyPoll(const Plan& plan) {
  const Want wanted = plan.options.busy_poll;
  busy_poll_ = {.name = "busy-poll", .wanted = wanted, .active = wanted != Want::kOff, .reason = {}};
  if (wanted == Want::kOff) return absl::OkStatus();
  for (const std::unique_ptr<XdpSocket>& socket : sockets_) {
    const int error = BusyPoll(socket->fd(), plan.options);
    if (error == 0) continue;
    busy_poll_.active = false;
    busy_poll_.reason = ErrnoText(error);
    if (wanted == Want::kPrefer) return absl::OkStatus();
    return ErrorStatus(
        {.device = plan.device,
         .stage = "start",
         .capability = "busy-poll",
         .error_number = error,
         .what = {},
         .remedy = "use busy_poll=prefer, or CAP_NET_ADMIN, a budget of at most 64, and Linux 5.11"});
  }
  return absl::OkStatus();
}

}  // namespace sluice
