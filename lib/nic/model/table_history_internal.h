// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_TABLE_HISTORY_INTERNAL_H_
#define SLUICE_NIC_MODEL_TABLE_HISTORY_INTERNAL_H_

// The steering tables of a running Nic, from the one in force to the newest that was asked for.
//
//   oldest ─▶ table ─▶ table ─▶ table       control appends at the end;
//                        ▲ now              whoever steers walks on, when the next one is due;
//                                           control frees what was passed.
//
// Nobody waits for anybody, and a table is whole or not there: a change can fall between any two packets, and
// nowhere else. Late hardware is a table that is not due yet.
//
// Threads: Append and newest, the control thread; the others, whoever steers, one at a time.

#include <atomic>
#include <cstdint>
#include <memory>

#include "nic/model/steering_table_internal.h"
#include "sluice/base/clock.h"

namespace sluice {

class TableHistory {
 public:
  // `generation` is kept at that of the RSS configuration in force, for any thread to read.
  TableHistory(std::unique_ptr<const SteeringTable> first, std::atomic<uint64_t>& generation);
  ~TableHistory();

  // Takes effect after `arrivals` more packets, and not before `at`.
  void Append(std::unique_ptr<const SteeringTable> table, uint64_t arrivals, Nanoseconds at);
  const SteeringTable& newest() const { return *newest_->table; }

  // The table in force.
  const SteeringTable& Now() const { return *now_.load(std::memory_order_relaxed)->table; }
  // Whether a newer one waits. Then Advance before each poll, and CountArrival before each packet.
  bool changing() const {
    return now_.load(std::memory_order_relaxed)->next.load(std::memory_order_acquire) != nullptr;
  }
  // Whether arrivals need no look into them: all go to queue 0, and no change waits.
  bool idle() const { return idle_.load(std::memory_order_acquire); }
  // Walks to the last table that is due.
  void Advance(const Clock& clock);
  // The same, and one arrival less for the others to wait for.
  void CountArrival(const Clock& clock);

 private:
  struct Entry {
    Entry(std::unique_ptr<const SteeringTable> from, uint64_t arrivals, Nanoseconds at);

    const std::unique_ptr<const SteeringTable> table;
    const bool looks;
    uint64_t arrivals_left;  // whoever steers
    const Nanoseconds due;
    std::atomic<Entry*> next{nullptr};
  };

  void FreePassed();
  void FindIdle(const Entry& now);

  std::atomic<bool> idle_{false};
  std::atomic<Entry*> now_;
  std::atomic<uint64_t>& generation_;
  Entry* newest_;
  Entry* oldest_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_TABLE_HISTORY_INTERNAL_H_
