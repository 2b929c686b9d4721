// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_MAPPED_FILE_INTERNAL_H_
#define SLUICE_NIC_VHOST_MAPPED_FILE_INTERNAL_H_

// Memory that a front-end lends by a descriptor: of its guest, of the dirty log, of the inflight area.
//
// Its size is looked at here, once. A file that shrinks afterwards kills who touches what is gone (SIGBUS), so it is sealed against
// that, where it can be: a memfd of QEMU's and libvirt's can. Of any other, the owner of the file is trusted.

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "nic/vhost/guest_memory_internal.h"

namespace sluice {

struct MappedFile {
  uint8_t* here = nullptr;
  std::shared_ptr<const GuestMapping> mapping = {};
  dev_t device = 0;  // which file it is
  ino_t inode = 0;
  bool sealed = false;
};

// Maps `bytes` of the file from `offset` on, to be read and written, shared. `fd` stays the caller's, and may be closed.
absl::StatusOr<MappedFile> MapFile(int fd, uint64_t offset, uint64_t bytes);

// A status of something that the other side did wrong. Device and stage are for the caller to fill in.
absl::Status VhostBreach(std::string what, std::string remedy = "update the front-end, or use another",
                         int error_number = 0);

// What to do about memory that isn't shared.
inline constexpr char kShareGuestMemory[] =
    "share the guest's memory: QEMU -object memory-backend-memfd,share=on; libvirt <memoryBacking><access "
    "mode='shared'/>; cloud-hypervisor --memory shared=on";

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_MAPPED_FILE_INTERNAL_H_
