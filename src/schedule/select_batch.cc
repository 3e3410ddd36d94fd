#include "schedule/select_batch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

#include "schedule/greedy.h"
#include "schedule/knapsack_bound.h"
#include "schedule/usage.h"

namespace edgewise::schedule {
namespace {

constexpr std::int64_t kNodesPerClockLook = 32;

// Members of one bit each.
class BitSet {
 public:
  explicit BitSet(std::size_t size) : words_((size + 63) / 64) {}

  void set(std::size_t i) { words_[i / 64] |= std::uint64_t{1} << (i % 64); }

  void reset(std::size_t i) { words_[i / 64] &= ~(std::uint64_t{1} << (i % 64)); }

  bool intersects(const BitSet& other) const {
    for (std::size_t w = 0; w < words_.size(); ++w) {
      if ((words_[w] & other.words_[w]) != 0) {
        return true;
      }
    }
    return false;
  }

 private:
  std::vector<std::uint64_t> words_;
};

// What the search through all pivots shares.
struct Progress {
  const SearchLimits* limits = nullptr;
  std::int64_t nodes = 0;
  bool stopped = false;
  double unit = 0.0;  // all values are multiples of it; 0: unknown
  double best = 0.0;
  std::vector<std::int32_t> chosen;

  // Counts one decision; false: stop here.
  bool may_continue() {
    if (nodes >= limits->max_nodes ||
        (nodes % kNodesPerClockLook == 0 && limits->out_of_time && limits->out_of_time())) {
      stopped = true;
      return false;
    }
    ++nodes;
    return true;
  }

  double round_down(double bound) const {
    return unit > 0.0 ? unit * std::floor(bound / unit + 1e-7) : bound;
  }

  bool is_better(double value) const { return round_down(value) > best + 1e-9 * (1.0 + best); }
};

// All sets whose most urgent member is one given candidate, drawn from those with more slack.
class PivotSearch {
 public:
  PivotSearch(std::span<const Candidate> all,
              std::span<const std::int32_t> pool,
              std::int32_t pivot,
              const CostModel& cost,
              const Capacity& capacity,
              std::span<const std::int32_t> ways)
      : cost_(cost), usage_(capacity), ways_(ways) {
    const Candidate& first = all[static_cast<std::size_t>(pivot)];
    set_.push_back(first);
    chosen_.push_back(pivot);
    usage_.add(first);
    const Rows limits = limits_after(first, capacity);
    for (const std::int32_t i : pool) {
      const Candidate& candidate = all[static_cast<std::size_t>(i)];
      const Rows needs = needs_of(first, candidate);
      bool can_join = usage_.fits(candidate);
      for (std::size_t r = 0; r < kRows; ++r) {
        can_join = can_join && needs[r] <= limits[r] * (1.0 + 1e-9) + 1e-12;
      }
      if (can_join) {
        items_.push_back({candidate, i, needs});
      }
    }
    make_bound(limits);
  }

  double upper_bound() const { return set_[0].value + bound_->most(0, 1.0); }

  void run(Progress& progress) {
    left_ = 1.0;
    record(set_[0].value, progress);
    decide(0, set_[0].value, progress);
  }

 private:
  static constexpr std::size_t kRows = KnapsackBound::kMaxRows;
  using Rows = std::array<double, kRows>;

  struct Item {
    Candidate candidate;
    std::int32_t index = 0;
    Rows needs{};
  };

  Rows needs_of(const Candidate& pivot, const Candidate& member) const {
    const CostModel::TimeRow time = cost_.time_needs(pivot, member);
    return {time[0], time[1], time[2], member.memory_bytes, member.uplink, member.downlink, 1.0};
  }

  // What the pivot leaves of each limit.
  Rows limits_after(const Candidate& pivot, const Capacity& capacity) const {
    const CostModel::TimeRow time = cost_.time_capacity(pivot);
    Rows limits = {time[0],
                   time[1],
                   time[2],
                   capacity.memory_bytes - capacity.load_bytes(pivot.variant),
                   capacity.uplink,
                   capacity.downlink,
                   static_cast<double>(capacity.count)};
    const Rows own = needs_of(pivot, pivot);
    for (std::size_t r = 0; r < kRows; ++r) {
      limits[r] = std::max(0.0, limits[r] + 1e-9 * std::abs(limits[r]) - own[r]);
    }
    return limits;
  }

  void make_bound(const Rows& limits) {
    std::vector<std::size_t> rows;  // those that could bind
    for (std::size_t r = 0; r < kRows; ++r) {
      double total = 0.0;
      for (const Item& item : items_) {
        total += item.needs[r];
      }
      if (total > limits[r] && limits[r] > 0.0) {
        rows.push_back(r);
      }
    }
    std::vector<double> values;
    std::vector<double> needs;
    for (const Item& item : items_) {
      values.push_back(item.candidate.value);
      for (const std::size_t r : rows) {
        needs.push_back(item.needs[r] / limits[r]);
      }
    }
    bound_.emplace(values, needs, rows.size());
    dominators_.resize(items_.size());
    skipped_ = BitSet(items_.size());
  }

  // Takes or skips the items from `place` of the bound's order on.
  void decide(std::size_t place, double value, Progress& progress) {
    const std::size_t from = place;
    for (; place < items_.size(); ++place) {
      if (!progress.is_better(value + bound_->most(place, left_)) || !progress.may_continue()) {
        break;
      }
      const Item& item = item_at(place);
      if (can_take(place, item)) {
        const double need = bound_->need(place);
        usage_.add(item.candidate);
        chosen_.push_back(item.index);
        left_ -= need;
        record(value + item.candidate.value, progress);
        decide(place + 1, value + item.candidate.value, progress);
        left_ += need;
        chosen_.pop_back();
        set_.pop_back();
        usage_.remove(item.candidate);
        if (progress.stopped) {
          break;
        }
      }
      skipped_.set(place);
    }
    for (std::size_t k = from; k < place; ++k) {
      skipped_.reset(k);
    }
  }

  // Leaves the item in set_ when it can be taken.
  bool can_take(std::size_t place, const Item& item) {
    if (!usage_.fits(item.candidate) || bound_->need(place) > left_ + 1e-7 ||
        skipped_.intersects(dominators(place))) {
      return false;
    }
    set_.push_back(item.candidate);
    if (cost_.in_time(set_, times_)) {
      return true;
    }
    set_.pop_back();
    return false;
  }

  void record(double value, Progress& progress) const {
    if (progress.is_better(value)) {
      progress.best = value;
      progress.chosen = chosen_;
    }
  }

  const Item& item_at(std::size_t place) const {
    return items_[static_cast<std::size_t>(bound_->order()[place])];
  }

  // Places before this one whose items are at least as good in every respect: where one of them was skipped, this one
  // need not be tried, since swapping the two gives a set that is tried elsewhere.
  const BitSet& dominators(std::size_t place) {
    std::optional<BitSet>& mask = dominators_[place];
    if (!mask) {
      mask.emplace(items_.size());
      for (std::size_t before = 0; before < place; ++before) {
        if (dominates(item_at(before).candidate, item_at(place).candidate)) {
          mask->set(before);
        }
      }
    }
    return *mask;
  }

  bool dominates(const Candidate& a, const Candidate& b) const {
    return a.value >= b.value && a.variant == b.variant && a.memory_bytes <= b.memory_bytes &&
           a.uplink <= b.uplink && a.downlink <= b.downlink &&
           // The swap must not put one request in twice.
           (a.request == b.request || ways_[static_cast<std::size_t>(a.request)] == 1) &&
           cost_.no_slower(a, b);
  }

  const CostModel& cost_;
  Usage usage_;
  std::span<const std::int32_t> ways_;  // candidates of each request
  std::vector<Item> items_;
  std::optional<KnapsackBound> bound_;
  std::vector<std::optional<BitSet>> dominators_;
  BitSet skipped_{0};
  double left_ = 1.0;  // of the bound's weighted sum
  std::vector<Candidate> set_;
  std::vector<std::int32_t> chosen_;
  FinishTimes times_;
};

// Greatest common unit of the values when they are all alike, else 0.
double common_unit(std::span<const Candidate> candidates, std::span<const std::int32_t> pool) {
  for (const std::int32_t i : pool) {
    if (candidates[static_cast<std::size_t>(i)].value !=
        candidates[static_cast<std::size_t>(pool[0])].value) {
      return 0.0;
    }
  }
  return pool.empty() ? 0.0 : candidates[static_cast<std::size_t>(pool[0])].value;
}

class Search {
 public:
  Search(std::span<const Candidate> candidates,
         const CostModel& cost,
         const Capacity& capacity,
         const SearchLimits& limits)
      : candidates_(candidates), cost_(cost), capacity_(capacity) {
    progress_.limits = &limits;
  }

  Selection run() {
    make_pool();
    progress_.unit = common_unit(candidates_, pool_);
    start_greedily();
    bound_pivots();
    double open_bound = progress_.best;
    for (const Pivot& pivot : pivots_) {
      if (!progress_.is_better(pivot.bound)) {
        break;
      }
      open_bound = progress_.round_down(pivot.bound);
      if (!search(pivot)) {
        break;
      }
      open_bound = progress_.best;
    }
    Selection result;
    result.chosen = progress_.chosen;
    std::sort(result.chosen.begin(), result.chosen.end());
    result.value = total_value(candidates_, result.chosen);
    result.nodes = progress_.nodes;
    result.is_optimal = !progress_.stopped;
    result.upper_bound = result.is_optimal ? result.value : std::max(open_bound, result.value);
    return result;
  }

 private:
  struct Pivot {
    std::size_t place = 0;  // in pool_
    double bound = 0.0;
  };

  // Candidates that are feasible alone, most slack first.
  void make_pool() {
    FinishTimes times;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      const Candidate& candidate = candidates_[i];
      const auto request = static_cast<std::size_t>(candidate.request);
      ways_.resize(std::max(ways_.size(), request + 1));
      ++ways_[request];
      if (candidate.value > 0.0 &&
          is_feasible(candidates_.subspan(i, 1), cost_, capacity_, times)) {
        pool_.push_back(static_cast<std::int32_t>(i));
      }
    }
    std::vector<double> slack(candidates_.size());
    for (const std::int32_t i : pool_) {
      slack[static_cast<std::size_t>(i)] = cost_.slack(candidates_[static_cast<std::size_t>(i)]);
    }
    std::stable_sort(pool_.begin(), pool_.end(), [&](std::int32_t a, std::int32_t b) {
      return slack[static_cast<std::size_t>(a)] > slack[static_cast<std::size_t>(b)];
    });
  }

  void start_greedily() {
    for (const GreedyOrder order :
         {GreedyOrder::kShortestTime, GreedyOrder::kValueDensity, GreedyOrder::kSlack}) {
      std::vector<std::int32_t> chosen = select_greedily(candidates_, cost_, capacity_, order);
      const double value = total_value(candidates_, chosen);
      if (value > progress_.best) {
        progress_.best = value;
        progress_.chosen = std::move(chosen);
      }
    }
  }

  // A cheap bound for each pivot: the fractional knapsack over row 0 of the time, with every need at its least.
  void bound_pivots() {
    struct Filled {
      double need = 0.0;
      double value = 0.0;
    };

    std::vector<Filled>
        by_density;  // candidates with more slack than the pivot, most value per need first
    double all_value = 0.0;
    for (std::size_t place = 0; place < pool_.size(); ++place) {
      const Candidate& pivot = candidates_[static_cast<std::size_t>(pool_[place])];
      const double capacity = cost_.time_capacity(pivot)[0];
      double left = capacity - cost_.time_needs(pivot, pivot)[0];
      double bound = pivot.value;
      if (capacity == kNever) {
        bound += all_value;
      } else {
        left += 1e-9 * std::abs(capacity);
        for (const Filled& item : by_density) {
          if (item.need > left) {
            bound += item.value * std::max(0.0, left) / item.need;
            break;
          }
          left -= item.need;
          bound += item.value;
        }
      }
      pivots_.push_back({place, bound});
      const Filled own{cost_.least_need(pivot), pivot.value};
      by_density.insert(std::upper_bound(by_density.begin(), by_density.end(), own,
                                         [](const Filled& a, const Filled& b) {
                                           return a.need * b.value < b.need * a.value;
                                         }),
                        own);
      all_value += pivot.value;
    }
    std::stable_sort(pivots_.begin(), pivots_.end(),
                     [](const Pivot& a, const Pivot& b) { return a.bound > b.bound; });
  }

  // False when the limits ended the search inside.
  bool search(const Pivot& pivot) {
    if (!progress_.may_continue()) {
      return false;
    }
    PivotSearch inside(candidates_, std::span(pool_).first(pivot.place), pool_[pivot.place], cost_,
                       capacity_, ways_);
    if (progress_.is_better(inside.upper_bound())) {
      inside.run(progress_);
    }
    return !progress_.stopped;
  }

  std::span<const Candidate> candidates_;
  const CostModel& cost_;
  const Capacity& capacity_;
  std::vector<std::int32_t> ways_;  // candidates of each request
  std::vector<std::int32_t> pool_;
  std::vector<Pivot> pivots_;
  Progress progress_;
};

}  // namespace

Selection select_batch(std::span<const Candidate> candidates,
                       const CostModel& cost,
                       const Capacity& capacity,
                       const SearchLimits& limits) {
  return Search(candidates, cost, capacity, limits).run();
}

}  // namespace edgewise::schedule
