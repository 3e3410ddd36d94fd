// The engine without its thread: sequences, cache and model, advanced one step at a time.
// Single-threaded; the engine thread (engine.cc) feeds it, and tests drive it directly.
//
// Memory: a running sequence that needs a block takes a free one, else the least recently used
// cached prefix goes, else the youngest running sequence gives up its blocks and waits to be
// computed again. The oldest is never the one to give up, so something always finishes; recomputed
// keys and values are the same bits, so the answer does not change (unless the request allows
// approximate reuse).
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "admission/answer_length.h"
#include "admission/fair_share.h"
#include "admission/forecast.h"
#include "admission/machine_price.h"
#include "admission/selection_thread.h"
#include "engine/sequence.h"
#include "model/model.h"
#include "platform/turn.h"
#include "reuse/page_traffic.h"
#include "reuse/prefix_cache.h"
#include "reuse/reuse_plan.h"
#include "speculation/draft_model.h"
#include "speculation/draft_odds.h"
#include "speculation/draft_plan.h"
#include "steps/scheduler.h"

namespace edgewise::engine {

struct RunnerOptions {
  std::int64_t context = 0;
  std::int64_t max_sequences = 1;
  steps::StepLimits limits;
  std::vector<TokenId> end_tokens;
  Scheduling scheduling = Scheduling::kFirstComeFirstServed;
  double selection_seconds = 0.002;  // most that a search takes
  // Searches run beside the steps and take effect a step later. Else inside, counted in nodes
  // instead of seconds: the same requests at the same times then run the same way.
  bool selects_beside = false;
  // Who is let in, instead of select(), where something is compared with it. Not beside the steps.
  std::function<admission::Selection(const admission::Snapshot&)> select = {};
  bool speculate = false;  // compute guessed tokens along with drawn ones where that pays
  reuse::Recomputation recomputation = {};  // of what requests take over from other texts
  // Reading a page from disk may take as long as computing it, or this, if it is more.
  double page_patience = 0.02;
  std::function<Clock::time_point()> now = Clock::now;  // tests let time pass as they like
  std::shared_ptr<admission::Link> link;                // null: no limit
  // What may be expected of the machine, where other engines compute on it too.
  std::function<platform::Turn::Outlook()> machine = [] { return platform::Turn::Outlook(); };
};

class Runner {
 public:
  Runner(std::unique_ptr<model::Model> model,
         std::unique_ptr<cache::KvCache> cache,
         RunnerOptions options,
         std::unique_ptr<reuse::PageTraffic> pages = nullptr,  // null: nothing is kept on disk
         // Null: guesses by look-up alone.
         std::unique_ptr<speculation::DraftModel> draft_model = nullptr);
  ~Runner();

  void add(std::unique_ptr<Sequence> sequence);
  void cancel(
      RequestId id);  // at once: frees its blocks and reports kCancelled; unknown ids are ignored
  void cancel_all();

  bool idle() const { return waiting_.empty() && running_.empty(); }

  // All who wait need more of the link than others leave: not idle, and nothing to compute. step() looks again; nobody
  // tells when there is more.
  bool is_held_back() const { return is_held_back_ && !waiting_.empty(); }

  // There are some whose beginning is being looked for on disk, which idle() does not tell.
  bool is_looking() const { return !looking_.empty(); }

  // Takes what was found on disk and offers at most one page to be written. Between steps, and when
  // idle as often as has_page_to_offer() or the traffic's on_change asks for it.
  void exchange_pages();
  bool has_page_to_offer() const;

  // Ends those who are late, as step() does, too. When idle, now and then while is_looking().
  void end_early();

  // Admits, plans, computes, samples, publishes. Requires: !idle().
  void step();

  // Counters and gauges; `waiting` is those taken in and not yet running.
  const EngineStats& stats();

  admission::Load load();  // how things stand, for forecasts

  // When the first of those who run is expected to end, rather late than early.
  std::optional<Clock::time_point> next_end() const;

  const model::Model& model() const { return *model_; }

  reuse::PrefixCache& prefixes() { return prefixes_; }

  const cache::KvCache& cache() const { return *cache_; }

  const steps::StepCost& cost() const { return times_.cost(); }

  speculation::DraftModel* draft_model() { return draft_model_.get(); }

 private:
  using SequencePtr = std::unique_ptr<Sequence>;

  struct Share {
    Sequence* sequence;
    std::int64_t tokens;
    std::vector<TokenId> draft = {};  // guesses of the tokens that follow these
    bool draft_is_models = false;     // else the look-up's
  };

  // What is made of a step anew each time, in memory that is kept.
  struct Step {
    std::vector<std::size_t> order;         // of running_, the most urgent first
    std::vector<steps::Progress> progress;  // [order]
    std::vector<std::int64_t> planned;      // [order] tokens
    std::vector<std::int64_t> tokens;       // [running_]
    std::vector<Share> shares;
    model::StepPlan plan;          // [shares]
    std::vector<TokenId> guessed;  // of each share with a draft: its tokens, then the draft
  };

  // What guesses a step could have, and which it will.
  struct Drafting {
    steps::StepShape step;  // without guesses
    std::int64_t tokens = 0;
    speculation::DraftLimits limits;
    std::vector<Share*> sharing;                  // who may have guesses
    std::vector<speculation::DraftOffer> offers;  // [sharing] the chosen ones
    speculation::DraftPlan plan;
    // What the draft model does beside.
    Sequence* reader = nullptr;
    std::int64_t reads = 0;
    Sequence* probed = nullptr;
    bool is_probe = false;  // it is there only to show whether guessing would pay
  };

  // Adds its own life to the time of the engine thread that decisions took.
  class Stopwatch {
   public:
    explicit Stopwatch(Runner& runner) : runner_(runner), begin_(runner.options_.now()) {}

    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

    ~Stopwatch() {
      runner_.stats_.scheduling_seconds_total +=
          std::chrono::duration<double>(runner_.options_.now() - begin_).count();
    }

   private:
    Runner& runner_;
    Clock::time_point begin_;
  };

  enum class Admission { kAdmitted, kNoMemory, kSiblingFirst };

  // runner_admission.cc
  void admit();
  Admission try_admit(Sequence& sequence);
  reuse::PrefixCache::Match find_prefix(const Sequence& sequence);
  bool sibling_computes_more(const Sequence& sequence, std::int64_t matched) const;
  void take_prefix(Sequence& sequence, reuse::PrefixCache::Match match);
  void begin(Sequence& sequence);
  void release(const reuse::PrefixCache::Match& match);
  std::int64_t unclaimed_blocks() const;
  void let_in(SequencePtr sequence);

  // runner_approximate_reuse.cc
  std::vector<reuse::CommonRun> find_reusable(
      const Sequence& sequence,
      std::int64_t computed,
      std::span<const reuse::PrefixCache::Text> texts) const;
  std::vector<reuse::PrefixCache::Text> similar_texts(const Sequence& sequence) const;
  std::int64_t reusable_tokens(const Sequence& sequence, std::int64_t computed) const;
  void take_over(Sequence& sequence);
  bool take_over(Sequence& sequence,
                 const reuse::CommonRun& run,
                 std::span<const cache::BlockId> source);

  // runner_pages.cc
  bool look_on_disk(const Sequence& sequence);
  void take_pages(const Sequence& sequence, reuse::PageTraffic::Found found);
  void offer_page();
  void offer_all_pages();

  // runner_deadlines.cc
  std::int64_t most_tokens(const Sequence& sequence) const;
  std::int64_t remaining_tokens(const Sequence& sequence) const;
  std::int64_t least_remaining_tokens(const Sequence& sequence) const;
  bool is_too_late(const Sequence& sequence, const schedule::StepCost& cost) const;
  void refuse(Sequence& sequence, const admission::Selection::Hopeless& why, bool nothing_ran);
  steps::StepLimits step_limits() const;
  double longest_timely_step() const;

  // runner_newcomers.cc
  void select_newcomers();
  bool let_one_try();
  void start_selection();
  void take_selection(const admission::Selection& selection);
  void admit_selected();

  // runner_snapshot.cc
  admission::Snapshot take_snapshot();
  schedule::StepCost cautious_cost() const;
  double promise_link();
  double share_of_link(const Sequence& sequence) const;
  void plan_sending(const Sequence& sequence,
                    double free_share,
                    admission::Contender& contender) const;
  void look_up_prefix(Sequence& sequence);
  double worth_of(const Sequence& sequence) const;
  void appraise(const Sequence& sequence);
  admission::Contender contender_of(const Sequence& sequence,
                                    double price,
                                    double free_share) const;
  admission::RunningView view_of(const Sequence& sequence) const;

  // runner_settlement.cc
  void charge(Sequence& sequence, std::int64_t output_tokens);
  void settle(Sequence& sequence, FinishReason reason);

  // runner_speculation.cc
  void add_drafts(std::vector<Share>& shares);
  Drafting look_up_drafts(std::vector<Share>& shares);
  std::vector<double> look_up_chances(Sequence& sequence, std::int64_t most) const;
  std::int64_t most_drafted(const Sequence& sequence) const;
  std::int64_t reserve_for_drafts(Sequence& sequence, std::int64_t drafted);
  void draw_along(const Share& share, std::span<const std::span<float>> rows);

  // runner_draft_choice.cc
  void consider_draft_model(Drafting& drafting);
  speculation::DraftOffer model_offer(Sequence& sequence);
  void plan_reading(Drafting& drafting, std::span<const speculation::DraftOffer> offers);
  void plan_probe(Drafting& drafting, std::span<const speculation::DraftOffer> offers);
  double reading_limit(const Drafting& drafting) const;
  void ask_draft_model(Drafting& drafting);
  speculation::DraftModel::Wish wish(Sequence& sequence, std::int64_t count);
  std::optional<TokenId> choose_guess(Sequence& sequence,
                                      std::int64_t place,
                                      std::span<float> logits);
  void learn_from_guesses(Sequence& sequence, std::size_t position);
  static speculation::DraftModel::Text text_of(const Sequence& sequence);

  // runner.cc
  void plan();
  void plan_tokens();
  void compute(const std::vector<Share>& shares);
  bool reserve_blocks(Sequence& sequence, std::int64_t positions);
  std::optional<cache::BlockId> adopt(cache::Page page);
  void wait_in_line(SequencePtr sequence);
  void preempt_youngest();
  model::StepResult forward(const std::vector<Share>& shares);
  Usage usage_of(const Sequence& sequence) const;
  void account(Sequence& sequence, std::int64_t computed);
  void publish(const std::vector<Share>& shares, const model::StepResult& result);
  void draw_token(Sequence& sequence, std::span<float> logits);
  void exclude_ends(std::span<float> logits) const;
  bool is_end(TokenId token) const;
  std::optional<FinishReason> why_finished(const Sequence& sequence) const;
  bool may_end(const Sequence& sequence) const;
  std::int64_t largest_needed(const Sequence& sequence) const;

  bool keeps_prefix(const Sequence& sequence) const;
  void finish(Sequence& sequence, FinishReason reason, Event event = {});
  void release_blocks(Sequence& sequence);
  void remove_finished();

  std::unique_ptr<model::Model> model_;
  std::unique_ptr<cache::KvCache> cache_;
  RunnerOptions options_;
  reuse::PrefixCache prefixes_;
  steps::StepTimes times_;
  std::unique_ptr<reuse::PageTraffic> pages_;
  std::unique_ptr<speculation::DraftModel> draft_model_;
  speculation::DraftOdds draft_odds_;  // of all texts
  double probe_seconds_ = 0.0;         // that the draft model may still use where it does not pay
  std::vector<SequencePtr> looking_;   // for pages on disk, then waiting
  std::deque<SequencePtr> waiting_;    // ascending id
  std::vector<SequencePtr> running_;   // ascending id
  Step step_;
  EngineStats stats_;
  admission::AnswerLength lengths_;
  admission::FairShare fair_;

  // Scheduling::kDeadline.
  std::unique_ptr<admission::SelectionThread> beside_;
  std::deque<RequestId> selected_;  // to be let in, most urgent first
  admission::MachinePrice price_;
  bool changed_ = false;  // somebody came or went since the last snapshot
  Clock::time_point snapshot_time_;
  bool is_held_back_ = false;
};

}  // namespace edgewise::engine
