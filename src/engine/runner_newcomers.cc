// The part of Runner that lets in who was chosen (Scheduling::kDeadline). admission/selection.h has the
// decision itself, runner_snapshot.cc what it is asked.
#include <algorithm>

#include "engine/runner.h"

namespace edgewise::engine {
namespace {

constexpr auto kStale = std::chrono::milliseconds(100);  // values and slacks change with time
constexpr std::int64_t kMostNodes = 2000;                // of a search that no clock ends

}  // namespace

void Runner::select_newcomers() {
  if (beside_ != nullptr && beside_->busy()) {
    // Where nothing runs, nobody's next token waits for the search.
    const auto selection = running_.empty() ? std::optional(beside_->wait()) : beside_->take();
    if (selection.has_value()) {
      take_selection(*selection);
    }
  }
  admit_selected();
  const Clock::time_point now = options_.now();
  const bool is_stale = changed_ || now - snapshot_time_ >= kStale;
  if (!waiting_.empty() && is_stale && (beside_ == nullptr || !beside_->busy())) {
    changed_ = false;
    snapshot_time_ = now;
    start_selection();
  }
  is_held_back_ = running_.empty() && !waiting_.empty() && !let_one_try();
}

// Nobody would surely be in time: whoever came first may try, so that something always happens. But not with what others
// were promised of the link: it will be used, or is free soon. False: there is nobody else.
bool Runner::let_one_try() {
  const double free_share = promise_link();
  const auto first = std::find_if(waiting_.begin(), waiting_.end(), [&](const SequencePtr& s) {
    return free_share == 1.0 || schedule::within(share_of_link(*s), free_share);
  });
  if (first == waiting_.end()) {
    return false;
  }
  selected_.assign(1, (*first)->id);
  admit_selected();
  return true;
}

void Runner::start_selection() {
  admission::Snapshot snapshot = take_snapshot();
  if (beside_ == nullptr) {
    take_selection(options_.select ? options_.select(snapshot)
                                   : admission::select(snapshot, kMostNodes));
  } else if (running_.empty()) {
    take_selection(admission::select_within(snapshot, options_.selection_seconds));
  } else {
    beside_->post(std::move(snapshot));
    return;
  }
  admit_selected();
}

void Runner::take_selection(const admission::Selection& selection) {
  const Stopwatch watch(*this);
  ++stats_.selections_total;
  stats_.selections_cut_total += selection.is_optimal ? 0 : 1;
  stats_.selection_gap_total += selection.upper_bound - selection.value;
  stats_.selection_seconds_total += selection.seconds;
  selected_.assign(selection.admitted.begin(), selection.admitted.end());
  for (const admission::Selection::Hopeless& hopeless : selection.hopeless) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const SequencePtr& s) { return s->id == hopeless.id; });
    if (it == waiting_.end()) {
      continue;
    }
    if (running_.empty() && !selection.is_alone) {
      changed_ = true;  // who was in its way has gone meanwhile: ask again
      continue;
    }
    const auto known = [&] { return (*it)->known_prefix.value_or(0) + (*it)->known_reuse; };
    const std::int64_t known_before = known();
    look_up_prefix(**it);
    if (known() > known_before) {
      changed_ = true;  // somebody has computed its beginning meanwhile: ask again
      continue;
    }
    refuse(**it, hopeless, selection.is_alone);
    waiting_.erase(it);
  }
}

void Runner::admit_selected() {
  for (auto id = selected_.begin(); id != selected_.end();) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const SequencePtr& s) { return s->id == *id; });
    if (it != waiting_.end()) {
      if (std::ssize(running_) >= options_.max_sequences) {
        return;
      }
      switch (try_admit(**it)) {
        case Admission::kNoMemory:
          return;
        case Admission::kSiblingFirst:
          ++id;
          continue;
        case Admission::kAdmitted:
          let_in(std::move(*it));
          waiting_.erase(it);
          changed_ = true;
      }
    }
    id = selected_.erase(id);
  }
}

}  // namespace edgewise::engine
