// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nic/model/table_history_internal.h"

namespace sluice {
namespace {

uint64_t GenerationOf(const SteeringTable& table) {
  return table.rss() == nullptr ? 0 : table.rss()->generation();
}

}  // namespace

TableHistory::Entry::Entry(std::unique_ptr<const SteeringTable> from, uint64_t arrivals, Nanoseconds at)
    : table(std::move(from)), looks(table->looks()), arrivals_left(arrivals), due(at) {}

TableHistory::TableHistory(std::unique_ptr<const SteeringTable> first, std::atomic<uint64_t>& generation)
    : now_(new Entry(std::move(first), 0, 0)),
      generation_(generation),
      newest_(now_.load(std::memory_order_relaxed)),
      oldest_(newest_) {
  generation_.store(GenerationOf(Now()), std::memory_order_release);
  FindIdle(*newest_);
}

TableHistory::~TableHistory() {
  while (oldest_ != nullptr) delete std::exchange(oldest_, oldest_->next.load(std::memory_order_relaxed));
}

void TableHistory::Append(std::unique_ptr<const SteeringTable> table, uint64_t arrivals, Nanoseconds at) {
  FreePassed();
  auto* const entry = new Entry(std::move(table), arrivals, at);
  newest_->next.store(entry, std::memory_order_seq_cst);  // whole before it is seen
  newest_ = entry;
  idle_.store(false, std::memory_order_seq_cst);
}

// Whoever steers says it is idle, then looks for a change; control makes the change, then says it is not. All in one order: a
// change that was not seen here is told of after what was said here.
void TableHistory::FindIdle(const Entry& now) {
  idle_.store(!now.looks, std::memory_order_seq_cst);
  if (now.next.load(std::memory_order_seq_cst) != nullptr) idle_.store(false, std::memory_order_relaxed);
}

void TableHistory::FreePassed() {
  // Acquire: whoever steers is done with all tables before this one.
  const Entry* const now = now_.load(std::memory_order_acquire);
  while (oldest_ != now) delete std::exchange(oldest_, oldest_->next.load(std::memory_order_relaxed));
}

void TableHistory::Advance(const Clock& clock) {
  Entry* entry = now_.load(std::memory_order_relaxed);
  Entry* next = entry->next.load(std::memory_order_acquire);
  while (next != nullptr && next->arrivals_left == 0 && (next->due == 0 || next->due <= clock.Now())) {
    entry = next;
    next = entry->next.load(std::memory_order_acquire);
  }
  generation_.store(GenerationOf(*entry->table), std::memory_order_release);
  now_.store(entry, std::memory_order_release);  // FreePassed
  FindIdle(*entry);
}

void TableHistory::CountArrival(const Clock& clock) {
  Advance(clock);
  Entry* entry = now_.load(std::memory_order_relaxed);
  while ((entry = entry->next.load(std::memory_order_acquire)) != nullptr) {
    if (entry->arrivals_left > 0) --entry->arrivals_left;
  }
}

}  // namespace sluice
