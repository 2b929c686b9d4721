// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_COPY_ENGINE_H_
#define SLUICE_NIC_COPY_ENGINE_H_

// Something that copies memory beside the processor: a DMA engine of the machine, behind one queue.
//
//   Submit, Submit, ... ─▶ │ ring │ ◀─ RingDoorbell, once a batch         the engine works, in any order
//                                  ──▶ Poll: of each copy whether it was done or failed, in any order
//
// Write one over what the machine has (Intel's DSA or I/OAT, a rte_dmadev), and give ports a CopyEngineFactory: the library
// decides what goes to it, when it is polled, and what becomes of a copy that fails (see DeferredCopyOptions). Those that come
// with the library copy by processor: MakeCpuCopyEngine here, and a model with everything that can go wrong
// (model_copy_engine.h). There is no gain without hardware, and with it not always: operating systems had such engines copy for
// TCP once, and took that out again. So ports use none unless told to; measure with yours.
//
// Threads: one at a time, not always the same.
// Cost: what the engine makes of it. Nothing here may allocate, lock, log, or enter the kernel, but for the doorbell.
// Addresses are this process's. Memory comes and goes while the engine is there (guests plug it); a copy from or to memory that
//   it cannot reach is one that fails.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

// Its bytes stay there until it is known what became of it. A guest may write to its own meanwhile, and name one place twice: what
// comes of that is its own affair, and harms nothing else.
struct CopyRequest {
  uint8_t* to = nullptr;
  const uint8_t* from = nullptr;
  uint32_t bytes = 0;  // at least 1
  uint64_t token = 0;  // the caller's
};

struct CopyResult {
  uint64_t token = 0;
  bool done = false;  // false: it failed. Some of the bytes may have been written, and none are any more
};

class SLUICE_EXPORT CopyEngine {
 public:
  // Nothing is read or written behind it.
  virtual ~CopyEngine() = default;

  virtual const std::string& name() const = 0;  // "dsa wq0.3"
  // Copies that may be with it: submitted, and not told of by Poll. At least 1.
  virtual size_t capacity() const = 0;

  // Puts a copy into the ring. False when it is full, or the engine removed: the copy was not taken.
  virtual bool Submit(const CopyRequest& copy) = 0;
  // Starts what was submitted since the last time.
  virtual void RingDoorbell() = 0;
  // Fills in what became of copies, each once, and returns of how many; fewer than there is room for means that no more are
  // known. Never waits. Who sees a copy done also sees its bytes (acquire).
  virtual size_t Poll(absl::Span<CopyResult> results) = 0;

  // Gone for good. Nothing is read or written from when this is first true, and of copies that were submitted, and that Poll
  // did not tell of, nobody hears again.
  virtual bool removed() const = 0;
  // Ends what was submitted, started or not: Poll then tells at once of each, as done or as failed. Waits for the device if it
  // must, for some milliseconds at most, and then stops it.
  virtual void Quiesce() = 0;
};

// Makes the engine of one queue of a port. Control thread; a port calls it once for each of its queues that comes to life, and
// does without where it refuses.
using CopyEngineFactory = std::function<absl::StatusOr<std::unique_ptr<CopyEngine>>(QueueId queue)>;

// How a queue uses an engine: it asks what became of a batch's copies only behind those of the next batch, when they are probably
// done, and one question finds all of them; or when no next batch came in time.
struct DeferredCopyOptions {
  CopyEngineFactory engine = {};  // null: the processor copies, at once
  // Bytes of a copy; shorter ones are the processor's. To submit one and to hear of it costs some 100 cycles.
  uint32_t at_least = 1024;
  // From the end of a batch, when no other follows, to the question: what the last packet before a pause is late by, at
  // most. At most a second.
  absl::Duration patience = absl::Microseconds(20);
  const Clock* clock = nullptr;  // outlives the port. Null = Clock::Monotonic()
};

// What came of it. Each field is monotonic.
struct CopyCounts {
  uint64_t by_engine = 0;    // copies that it has done
  uint64_t small = 0;        // by the processor instead: shorter than DeferredCopyOptions::at_least,
  uint64_t full = 0;         // because there was no room in the engine's ring,
  uint64_t failed = 0;       // after the engine had failed at them,
  uint64_t removed = 0;      // because it was gone, before or meanwhile,
  uint64_t not_allowed = 0;  // because they may not be late: the guest's writes are logged, for it moves
  uint64_t polls = 0;        // rounds of questions
  uint64_t early_polls = 0;  // of those that did not find all done
  uint64_t timeouts = 0;     // of polls: those for which no next batch had come in time

  SLUICE_EXPORT CopyCounts& operator+=(const CopyCounts& other);
};

// Copies at Submit, and tells at the next Poll: for tests, and to see what an engine costs that costs nothing. kInvalidArgument
// for a capacity of 0, or of more than 65536.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<CopyEngine>> MakeCpuCopyEngine(size_t capacity = 1024);

}  // namespace sluice

#endif  // SLUICE_NIC_COPY_ENGINE_H_
