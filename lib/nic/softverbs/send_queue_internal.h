// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_SEND_QUEUE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_SEND_QUEUE_INTERNAL_H_

// The send requests of a queue pair, and the frames that were made of the first of them.
//
//   ring:  │ done │ staged: gathered, waiting for the wire │ waiting │
//
// A request completes when its frame was taken, in order; its memory is the program's again when it is staged.
// Threads: under the lock of the device.

#include <cstdint>
#include <utility>

#include "nic/softverbs/completion_queue_internal.h"
#include "nic/softverbs/memory_internal.h"
#include "nic/softverbs/pacer_internal.h"
#include "nic/softverbs/work_ring_internal.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

struct SoftSendOptions {
  uint32_t number = 0;  // of the queue pair
  uint32_t domain = 0;
  uint32_t requests = 0;
  uint32_t pieces = 0;
  uint32_t bytes = 0;          // kept with a request: SoftWork::bytes
  uint32_t max_frame = 0;      // of those that are not to be segmented
  uint32_t max_segmented = 0;  // bytes, headers included, of those that are
};

class SoftSendQueue {
 public:
  SoftSendQueue(const SoftSendOptions& options, const SoftMemory& memory, SoftCompletionQueue& completions)
      : options_(options),
        memory_(memory),
        completions_(completions),
        ring_(options.requests, options.pieces, options.bytes) {}
  ~SoftSendQueue() { Reset(); }
  SoftSendQueue(const SoftSendQueue&) = delete;
  SoftSendQueue& operator=(const SoftSendQueue&) = delete;

  SoftWorkRing& ring() { return ring_; }
  SoftPacer& pacer() { return pacer_; }

  // Makes frames of requests that wait, up to `most`, or as far as buffers and room for completions reach. False when the
  // next one is at fault: it has failed, and with it the queue.
  bool Stage(PacketPool& pool, uint64_t most);
  // The frames; whoever takes some from the front says so.
  Burst& staged() { return staged_; }
  void Complete(size_t taken, Nanoseconds now);

  bool Flush();  // as SoftReceiveQueue
  void Reset();

 private:
  void StagePlain(PacketPool& pool, size_t most);
  const uint8_t* PlainBytes(const SoftWork& work, uint32_t room) const;
  bool MakeRoomFor(const SoftWork& work) {
    return work.signaled ? completions_.MakeRoom() : completions_.room() > 0;
  }
  void Fail(SoftStatus status);
  SoftStatus Gather(uint64_t place, PacketPool& pool, PacketPtr& packet);
  SoftStatus Fill(uint64_t place, PacketPool& pool, PacketPtr& packet);
  SoftCompletion CompletionOf(uint64_t place);
  void Unstage();

  const SoftSendOptions options_;
  const SoftMemory& memory_;
  SoftCompletionQueue& completions_;
  SoftWorkRing ring_;
  SoftPacer pacer_;
  Burst staged_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_SEND_QUEUE_INTERNAL_H_
