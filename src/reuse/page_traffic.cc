#include "reuse/page_traffic.h"

#include <pthread.h>
#include <sched.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace edgewise::reuse {
namespace {

constexpr std::size_t kMostOffers = 4;  // copies of pages that wait to be written
constexpr std::chrono::seconds kPatience{2};
constexpr std::chrono::seconds kPause{60};  // after the disk has refused a page

}  // namespace

PageTraffic::PageTraffic(std::unique_ptr<cache::PageStore> store,
                         const cache::PageKey& model,
                         std::function<void()> on_change)
    : store_(std::move(store)),
      model_(model),
      on_change_(std::move(on_change)),
      reader_([this] { read(); }),
      writer_([this] { write(); }) {}

PageTraffic::~PageTraffic() {
  {
    const MutexLock lock(mutex_);
    end_ = Clock::now() + kPatience;
  }
  changed_.notify_all();
  const sched_param normal{};
  ::pthread_setschedparam(writer_.native_handle(), SCHED_OTHER, &normal);  // somebody waits now
  reader_.join();
  writer_.join();
}

void PageTraffic::want(Wanted wanted) {
  {
    const MutexLock lock(mutex_);
    wanted_.push_back(std::move(wanted));
  }
  changed_.notify_all();
}

std::vector<PageTraffic::Found> PageTraffic::take_found() {
  const MutexLock lock(mutex_);
  return std::exchange(found_, {});
}

void PageTraffic::forget(RequestId id) {
  const MutexLock lock(mutex_);
  std::erase_if(wanted_, [id](const Wanted& wanted) { return wanted.id == id; });
  std::erase_if(found_, [id](const Found& found) { return found.id == id; });
}

void PageTraffic::read() {
  MutexLock lock(mutex_);
  while (true) {
    while (!end_.has_value() && wanted_.empty()) {
      changed_.wait(lock);
    }
    if (end_.has_value()) {
      return;
    }
    const Wanted wanted = std::move(wanted_.front());
    wanted_.pop_front();
    lock.unlock();
    Found found{wanted.id, wanted.depth,
                store_->load(wanted.keys, wanted.depth, wanted.most_seconds)};
    lock.lock();
    found_.push_back(std::move(found));
    lock.unlock();
    on_change_();
    lock.lock();
  }
}

bool PageTraffic::room() const {
  return offers_.size() < kMostOffers && Clock::now() >= paused_until_;
}

bool PageTraffic::has_room() const {
  const MutexLock lock(mutex_);
  return room();
}

void PageTraffic::offer(Offer offer) {
  {
    const MutexLock lock(mutex_);
    // A pause may have begun since: the page is tried all the same.
    CHECK(offers_.size() < kMostOffers, "more pages are offered than there is room for");
    offers_.push_back(std::move(offer));
  }
  changed_.notify_all();
}

bool PageTraffic::wait_for_room(Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (!room()) {
    if (Clock::now() < paused_until_ || !changed_.wait_until(lock, deadline)) {
      return false;
    }
  }
  return Clock::now() < deadline;
}

void PageTraffic::write() {
  const sched_param idle{};
  ::pthread_setschedparam(::pthread_self(), SCHED_IDLE, &idle);  // a favour, not a need
  MutexLock lock(mutex_);
  while (true) {
    while (!end_.has_value() && offers_.empty()) {
      changed_.wait(lock);
    }
    if (offers_.empty() || (end_.has_value() && Clock::now() > *end_)) {
      return;
    }
    const Offer offer = std::move(offers_.front());
    lock.unlock();
    write(offer);
    lock.lock();
    offers_.pop_front();
    lock.unlock();
    changed_.notify_all();
    on_change_();
    lock.lock();
  }
}

void PageTraffic::write(const Offer& offer) {
  if (offer.bytes.empty()) {
    store_->touch(offer.key, offer.depth);
    return;
  }
  const Result<void> stored = store_->store(offer.key, offer.depth, offer.bytes);
  if (stored || stored.error().code == ErrorCode::kUnavailable) {  // somebody else writes just now
    return;
  }
  log(has_failed_ ? LogLevel::kInfo : LogLevel::kWarning,
      "KV pages are not written to disk for the next {} s: {}", kPause.count(),
      stored.error().message);
  has_failed_ = true;
  const MutexLock lock(mutex_);
  paused_until_ = Clock::now() + kPause;
}

}  // namespace edgewise::reuse
