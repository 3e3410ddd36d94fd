// The part of Runner that decides whether the draft model is asked (docs/decisions/014-draft-model.md).
// Its guesses cost time before anybody knows whether they are right, so chances and measured seconds
// decide, and where they say no it gets a small share of time to show that they are wrong.
#include <algorithm>
#include <limits>

#include "engine/runner.h"

namespace edgewise::engine {
namespace {

constexpr double kLeastGain = 1.05;  // in tokens a second; less is within what costs are known to
// More rows than these are read beforehand, because they would make the first guess look dear.
constexpr std::int64_t kNear = 16;
constexpr std::int64_t kMostRead = 512;  // tokens a step
constexpr double kLongestRead = 0.05;    // seconds a step
constexpr double kMostDelay = 0.25;      // of a step, while others wait for its end
constexpr double kReadingWorth = 0.5;    // of the gain that is expected of it

}  // namespace

speculation::DraftModel::Text Runner::text_of(const Sequence& sequence) {
  return {sequence.id, &sequence.request.tenant, sequence.tokens};
}

speculation::DraftOffer Runner::model_offer(Sequence& sequence) {
  if (!sequence.draft_odds.has_value()) {
    sequence.draft_odds.emplace(&draft_odds_);
  }
  const speculation::DraftModel::Text text = text_of(sequence);
  const std::int64_t most = std::min(most_drafted(sequence), draft_model_->most_guesses(text));
  return {.position = sequence.target(),
          .chances = sequence.draft_odds->chances(most),
          .is_computed = false,
          .missing = draft_model_->missing(text)};
}

// Replaces the look-up's guesses by the draft model's where that makes tokens come faster.
void Runner::consider_draft_model(Drafting& drafting) {
  if (drafting.sharing.size() != running_.size()) {
    return;  // somebody waits for a first token
  }
  const std::vector<speculation::DraftOffer> looked_up = drafting.offers;
  std::vector<speculation::DraftOffer> offers;
  for (const Share* share : drafting.sharing) {
    offers.push_back(model_offer(*share->sequence));
  }
  // Where it can guess; where it is likelier to be right.
  std::vector<speculation::DraftOffer> everywhere = looked_up;
  std::vector<speculation::DraftOffer> likelier = looked_up;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (offers[i].missing > kNear || offers[i].chances.empty()) {
      continue;
    }
    everywhere[i] = offers[i];
    if (looked_up[i].chances.empty() || offers[i].chances[0] > looked_up[i].chances[0]) {
      likelier[i] = offers[i];
    }
  }
  double least = kLeastGain * drafting.plan.rate();
  for (const std::vector<speculation::DraftOffer>& mixed : {everywhere, likelier}) {
    speculation::DraftPlan plan = speculation::plan_drafts(
        mixed, drafting.step, drafting.tokens, drafting.limits, times_, &draft_model_->times());
    if (plan.rate() > least) {
      least = plan.rate();
      drafting.plan = std::move(plan);
      drafting.offers = mixed;
    }
  }
  plan_reading(drafting, offers);
  plan_probe(drafting, offers);
}

// Somebody's text, as far as that fits this step, if what is left of his answer would pay for all of
// it.
void Runner::plan_reading(Drafting& drafting, std::span<const speculation::DraftOffer> offers) {
  std::vector<speculation::DraftOffer> all_read(offers.begin(), offers.end());
  for (speculation::DraftOffer& offer : all_read) {
    offer.missing = std::min<std::int64_t>(offer.missing, 2);
  }
  const steps::StepTimes& times = draft_model_->times();
  const double rate = speculation::plan_drafts(all_read, drafting.step, drafting.tokens,
                                               drafting.limits, times_, &times)
                          .rate();
  if (rate <= kLeastGain * drafting.plan.rate()) {
    return;
  }
  const double saved = 1.0 / drafting.plan.rate() - 1.0 / rate;  // seconds a token
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (offers[i].missing <= kNear || offers[i].chances.empty()) {
      continue;
    }
    Sequence& sequence = *drafting.sharing[i]->sequence;
    const auto left =
        0.5 * static_cast<double>(remaining_tokens(sequence) + least_remaining_tokens(sequence));
    const std::int64_t begin = sequence.target() - offers[i].missing;
    steps::StepShape all;
    all.add(offers[i].missing, begin, /*draws=*/false);
    if (times.seconds(all) > kReadingWorth * saved * left) {
      continue;
    }
    drafting.reads = times.cost().tokens_within(
        {}, begin, std::min(offers[i].missing - 1, kMostRead), reading_limit(drafting));
    drafting.reader = drafting.reads > 0 ? &sequence : nullptr;
    return;
  }
}

// Seconds of this step that are left for it.
double Runner::reading_limit(const Drafting& drafting) const {
  const double own = running_.size() == 1
                         ? kLongestRead
                         : std::min(kLongestRead, kMostDelay * times_.seconds(drafting.step));
  return std::min(own, longest_timely_step() - drafting.plan.seconds);
}

// One guess that is only compared with what is drawn, or a part of the reading for it, when there is
// time for all of it.
void Runner::plan_probe(Drafting& drafting, std::span<const speculation::DraftOffer> offers) {
  const bool asks =
      std::any_of(drafting.offers.begin(), drafting.offers.end(),
                  [](const speculation::DraftOffer& offer) { return !offer.is_computed; });
  if (asks || drafting.reader != nullptr) {
    return;
  }
  std::size_t cheapest = offers.size();
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (!offers[i].chances.empty() &&
        (cheapest == offers.size() || offers[i].missing < offers[cheapest].missing)) {
      cheapest = i;
    }
  }
  if (cheapest == offers.size()) {
    return;
  }
  const std::int64_t missing = offers[cheapest].missing;
  const std::int64_t begin = offers[cheapest].position - missing;
  const steps::StepTimes& times = draft_model_->times();
  steps::StepShape shape;
  shape.add(missing, begin, /*draws=*/true);
  const double seconds = times.seconds(shape);
  if (seconds > probe_seconds_) {
    return;
  }
  Sequence& sequence = *drafting.sharing[cheapest]->sequence;
  const double limit = reading_limit(drafting);
  drafting.is_probe = true;
  if (missing <= kNear) {
    drafting.probed = seconds <= limit ? &sequence : nullptr;
    return;
  }
  drafting.reads = times.cost().tokens_within({}, begin, std::min(missing - 1, kMostRead), limit);
  drafting.reader = drafting.reads > 0 ? &sequence : nullptr;
}

// What was decided.
void Runner::ask_draft_model(Drafting& drafting) {
  const double busy_before = draft_model_->busy_seconds();
  std::vector<speculation::DraftModel::Wish> wishes;
  std::vector<Share*> whose;
  for (std::size_t i = 0; i < drafting.sharing.size(); ++i) {
    if (!drafting.offers[i].is_computed && drafting.plan.counts[i] > 0) {
      whose.push_back(drafting.sharing[i]);
      wishes.push_back(wish(*whose.back()->sequence, drafting.plan.counts[i]));
    }
  }
  if (drafting.probed != nullptr) {
    wishes.push_back(wish(*drafting.probed, 1));
  }
  if (!wishes.empty()) {
    std::vector<std::vector<TokenId>> drafts = draft_model_->guess(wishes);
    for (std::size_t i = 0; i < whose.size(); ++i) {
      whose[i]->draft = std::move(drafts[i]);
      whose[i]->draft_is_models = true;
    }
  }
  if (drafting.reader != nullptr) {
    draft_model_->read(text_of(*drafting.reader), drafting.reads);
  }
  if (drafting.is_probe) {
    probe_seconds_ -= draft_model_->busy_seconds() - busy_before;
  }
}

speculation::DraftModel::Wish Runner::wish(Sequence& sequence, std::int64_t count) {
  sequence.guesses.clear();
  return {.text = text_of(sequence),
          .count = count,
          .largest = largest_needed(sequence),
          .choose = [this, &sequence](std::int64_t place, std::span<float> logits) {
            return choose_guess(sequence, place, logits);
          }};
}

// What the sampler would draw from the draft model's logits. An end is a guess, but nothing is
// computed behind it.
std::optional<TokenId> Runner::choose_guess(Sequence& sequence,
                                            std::int64_t place,
                                            std::span<float> logits) {
  const auto vocab = static_cast<std::size_t>(model_->spec().vocab);
  std::vector<float> padded;
  if (logits.size() < vocab) {
    padded.assign(logits.begin(), logits.end());
    padded.resize(vocab, -std::numeric_limits<float>::infinity());
    logits = padded;
  }
  logits = logits.first(vocab);
  if (!may_end(sequence)) {
    exclude_ends(logits);
  }
  const TokenId token = sequence.sampler->guess(logits, sequence.target() + place);
  sequence.guesses.push_back(token);
  return token < 0 || is_end(token) ? std::nullopt : std::optional(token);
}

// The guesses were of what follows `position`.
void Runner::learn_from_guesses(Sequence& sequence, std::size_t position) {
  if (sequence.guesses.empty()) {
    return;
  }
  const auto drawn = std::span<const TokenId>(sequence.tokens).subspan(position);
  sequence.draft_odds->observe(sequence.guesses, drawn);
  draft_odds_.observe(sequence.guesses, drawn);
  sequence.guesses.clear();
}

}  // namespace edgewise::engine
