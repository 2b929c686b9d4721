// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "nic/xdp/program_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kPrivileges[] =
    "run with CAP_NET_RAW, CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before Linux 5.8), as root, or with "
    "`setcap cap_net_raw,cap_bpf,cap_net_admin+ep` on the program";

constexpr bpf_insn Instruction(int code, int to, int from, int16_t offset, int32_t immediate) {
  bpf_insn instruction{};
  instruction.code = static_cast<uint8_t>(code);
  instruction.dst_reg = static_cast<uint8_t>(to & 0xf);
  instruction.src_reg = static_cast<uint8_t>(from & 0xf);
  instruction.off = offset;
  instruction.imm = immediate;
  return instruction;
}

// return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS);
// The last argument is what becomes of a frame whose queue has no socket (bpf-helpers(7), bpf_redirect_map).
std::array<bpf_insn, 6> RedirectByQueue(int map) {
  return {
      Instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, offsetof(xdp_md, rx_queue_index), 0),
      Instruction(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),
      Instruction(0, 0, 0, 0, 0),  // the upper half of the map's handle
      Instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS),
      Instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
      Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
}

std::string RemedyForLoad(int error) {
  if (error == EPERM || error == EACCES) {
    return absl::StrCat(kPrivileges, "; before Linux 5.11 also raise RLIMIT_MEMLOCK (`ulimit -l unlimited`)");
  }
  return "use a kernel with CONFIG_XDP_SOCKETS and CONFIG_BPF_SYSCALL";
}

absl::Status LoadFailed(const std::string& device, int error, const char* what) {
  return ErrorStatus({.device = device,
                      .stage = "load XDP program",
                      .capability = "AF_XDP",
                      .error_number = error,
                      .what = what,
                      .remedy = RemedyForLoad(error)});
}

std::string RemedyForAttach(int error) {
  switch (error) {
    case EBUSY:
    case EEXIST:
      return "stop its owner, or take it off with `ip link set IFACE xdp off`; `bpftool net` names it";
    case EPERM:
      return kPrivileges;
    case EOPNOTSUPP:
      return "use native=prefer: the driver has no XDP, but the generic hook fits every device";
    case EINVAL:
    case ERANGE:
      return "see dmesg; most often the MTU is too large for XDP in this driver: lower it, also of a veth's "
             "peer, or "
             "use native=off";
    default:
      return "see dmesg for the driver's reason, or use native=off";
  }
}

// EEXIST is said when the other program sits on the other of the two hooks: to the caller that is the same as
// EBUSY.
absl::Status AttachFailed(const std::string& device, int error) {
  return ErrorStatus(
      {.device = device,
       .stage = "attach XDP program",
       .capability = {},
       .error_number = error == EEXIST ? EBUSY : error,
       .what = error == EBUSY || error == EEXIST ? "another XDP program has the interface" : "",
       .remedy = RemedyForAttach(error)});
}

std::string ProgramName(uint32_t id) {
  const UniqueFd program(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) return "";
  return absl::StrCat(" \"", info.name, "\"");
}

}  // namespace

absl::StatusOr<XdpProgram> XdpProgram::Load(const std::string& device, uint32_t queues) {
  UniqueFd map(
      bpf_map_create(BPF_MAP_TYPE_XSKMAP, "sluice_queues", sizeof(uint32_t), sizeof(int), queues, nullptr));
  if (!map.valid()) return LoadFailed(device, errno, "XSKMAP");
  const auto code = RedirectByQueue(map.get());
  UniqueFd program(
      bpf_prog_load(BPF_PROG_TYPE_XDP, "sluice_redirect", "Apache-2.0", code.data(), code.size(), nullptr));
  if (!program.valid()) return LoadFailed(device, errno, "");
  return XdpProgram(device, std::move(map), std::move(program));
}

absl::Status XdpProgram::Redirect(uint32_t queue, int socket) const {
  if (bpf_map_update_elem(map_.get(), &queue, &socket, 0) == 0) return absl::OkStatus();
  return LoadFailed(device_, errno, "put a socket into the XSKMAP");
}

int XdpProgram::TryAttach(uint32_t interface_index, uint32_t mode) {
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = mode);
  link_ = UniqueFd(bpf_link_create(program_.get(), static_cast<int>(interface_index), BPF_XDP, &options));
  return link_.valid() ? 0 : errno;
}

absl::Status XdpProgram::Attach(uint32_t interface_index, Want native) {
  int error = EOPNOTSUPP;
  if (native != Want::kOff) {
    error = TryAttach(interface_index, XDP_FLAGS_DRV_MODE);
    native_ = error == 0;
    if (native_) return absl::OkStatus();
    reason_ = absl::StrCat("the driver refused: ", ErrnoText(error));
  }
  const bool busy = error == EBUSY || error == EEXIST;
  if (native != Want::kRequire && !busy) error = TryAttach(interface_index, XDP_FLAGS_SKB_MODE);
  return error == 0 ? absl::OkStatus() : AttachFailed(device_, error);
}

absl::Status CheckNoProgram(const std::string& device, uint32_t interface_index) {
  LIBBPF_OPTS(bpf_xdp_query_opts, attached);
  const int error = -bpf_xdp_query(static_cast<int>(interface_index), 0, &attached);
  if (error > 0 || attached.attach_mode == XDP_ATTACHED_NONE) return absl::OkStatus();  // Attach will tell
  const uint32_t id = attached.prog_id != 0 ? attached.prog_id : attached.drv_prog_id;
  return ErrorStatus({.device = device,
                      .stage = "open",
                      .capability = {},
                      .error_number = EBUSY,
                      .what = absl::StrCat("XDP program ", id, ProgramName(id), " has the interface"),
                      .remedy = RemedyForAttach(EBUSY)});
}

}  // namespace sluice
