#include "nodes/dispatcher.h"

#include <algorithm>
#include <utility>

namespace edgewise::nodes {
namespace {

using admission::Load;
using std::chrono::milliseconds;

constexpr milliseconds kPause{10};     // between decisions, while somebody waits
constexpr int kRest = 4;               // ... and as many times what the last one took
constexpr milliseconds kOnTheWay{60};  // at most, to another server's engine
constexpr double kSearch = 0.004;      // seconds, of all searches of a decision
constexpr std::size_t kMostOffered = 96;
constexpr std::size_t kMostWaiting = 1024;
constexpr int kMostLosses = 3;
constexpr milliseconds kUnserved{
    10'000};  // after which a request that nobody could answer is refused

double seconds_between(Node::Clock::time_point from, Node::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

api::ApiError unavailable(std::string message) {
  return {
      .status = 503, .message = std::move(message), .code = "unavailable", .retry_after_s = 1.0};
}

}  // namespace

Dispatcher::Dispatcher(std::vector<std::shared_ptr<api::Backend>> here,
                       std::vector<NodeOptions> nodes)
    : here_(std::move(here)) {
  std::set<std::string, std::less<>> names;
  for (const auto& backend : here_) {
    names.insert(backend->card().id);
    if (!backend->card().group.empty()) {
      names.insert(backend->card().group);
    }
  }
  for (NodeOptions& options : nodes) {
    options.names = names;
    nodes_.push_back(std::make_unique<Node>(std::move(options), [this] {
      const MutexLock lock(mutex_);
      wakes_ = true;
      woken_.notify_all();
    }));
  }
  deciding_ = std::thread([this] { decide_until_stopped(); });
}

Dispatcher::~Dispatcher() {
  stop();
}

void Dispatcher::stop() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  woken_.notify_all();
  if (deciding_.joinable()) {
    deciding_.join();
  }
  for (const auto& node : nodes_) {
    node->begin_stop();
  }
  for (const auto& node : nodes_) {
    node->stop();
  }
}

bool Dispatcher::concerns(api::ServedModels::Members models) const {
  const auto is_had = [&](const std::string& name) {
    return !name.empty() &&
           std::ranges::any_of(nodes_, [&](const auto& node) { return node->has_had(name); });
  };
  return std::ranges::any_of(models, [&](const auto& model) {
    return is_had(model->card().id) || is_had(model->card().group);
  });
}

double Dispatcher::best_accuracy(std::string_view group) const {
  double best = 0.0;
  for (const auto& node : nodes_) {
    const auto told = node->told();
    for (std::size_t i = 0; told != nullptr && i < told->load.models.size(); ++i) {
      const api::ModelLoad& model = told->load.models[i];
      best = model.group == group ? std::max(best, model.accuracy.value_or(0.0)) : best;
    }
  }
  return best;
}

void Dispatcher::place(std::unique_ptr<api::PlacedRequest> request) {
  for (const auto& node : nodes_) {
    node->look_soon();
  }
  hand_in({.request = std::move(request)});
}

void Dispatcher::hand_in(Entry entry) {
  {
    const MutexLock lock(mutex_);
    if (!stop_) {
      arrived_.push_back(std::move(entry));
      woken_.notify_all();
      return;
    }
  }
  entry.request->reply.send_error(unavailable("The server is shutting down."));
}

void Dispatcher::decide_until_stopped() {
  Clock::time_point next = Clock::now();
  while (true) {
    std::vector<Entry> arrived;
    bool stops = false;
    {
      MutexLock lock(mutex_);
      counts_.waiting = std::ssize(waiting_);
      while (!stop_ && waiting_.empty() && arrived_.empty()) {
        woken_.wait(lock);
      }
      while (!stop_ && Clock::now() < next) {  // one decision must not follow on the other's heels
        woken_.wait_until(lock, next);
      }
      const Clock::time_point latest = Clock::now() + kPause;
      while (!stop_ && !wakes_ && arrived_.empty() && Clock::now() < latest) {
        woken_.wait_until(lock, latest);
      }
      wakes_ = false;
      stops = stop_;
      arrived = std::exchange(arrived_, {});
    }
    take_in(std::move(arrived));
    if (stops) {
      break;
    }
    const Clock::time_point begun = Clock::now();
    drop_gone();
    if (!waiting_.empty()) {
      decide();
    }
    next = Clock::now() + kRest * (Clock::now() - begun);
    const MutexLock lock(mutex_);
    counts_.assignment_seconds_total += seconds_between(begun, Clock::now());
  }
  for (const Entry& entry : waiting_) {
    entry.request->reply.send_error(unavailable("The server is shutting down."));
  }
  waiting_.clear();
}

void Dispatcher::take_in(std::vector<Entry> arrived) {
  for (Entry& entry : arrived) {
    Market& market = markets_[entry.request->name];
    market.enter(*entry.request);
    market.refund(*entry.request, std::exchange(entry.charged_seconds, 0.0));
    waiting_.push_back(std::move(entry));
  }
}

void Dispatcher::drop_gone() {
  std::erase_if(waiting_, [&](const Entry& entry) {
    api::PlacedRequest& request = *entry.request;
    if (request.reply.responder().is_open() && entry.losses < kMostLosses) {
      return false;
    }
    markets_[request.name].leave(request);
    if (entry.losses >= kMostLosses) {  // as if it were the request's doing
      request.reply.send_error(
          {.status = 502,
           .message = "The servers that were answering were lost, one after the other.",
           .code = "node_lost"});
    } else {
      request.reply.count_gone();
    }
    return true;
  });
}

// All engines whose load is known, with what is on its way to them.
std::vector<Place> Dispatcher::places() {
  std::vector<Place> found;
  for (const auto& backend : here_) {
    const Clock::time_point now = Clock::now();
    if (std::optional<Load> load = backend->load()) {
      const api::ModelCard& card = backend->card();
      found.push_back({.here = backend,
                       .model = card.id,
                       .accuracy = card.accuracy.value_or(0.0),
                       .load = std::move(*load)});
      add_sent(now, found.back());
    }
  }
  for (const auto& node : nodes_) {
    const auto told = node->told();
    for (std::size_t i = 0; told != nullptr && i < told->load.models.size(); ++i) {
      const api::ModelLoad& model = told->load.models[i];
      if (model.load) {
        found.push_back({.node = node.get(),
                         .model = model.id,
                         .group = model.group,
                         .accuracy = model.accuracy.value_or(0.0),
                         .load = *model.load});
        add_sent(told->asked_at, found.back());
      }
    }
  }
  return found;
}

void Dispatcher::add_sent(Clock::time_point known_at, Place& place) {
  std::vector<Sent>& sent = sent_[place.name()];
  std::erase_if(sent, [&](const Sent& one) {
    return one.is_over->load() || (place.node != nullptr && one.at + kOnTheWay < known_at);
  });
  for (const Sent& one : sent) {
    place.add_waiting(one.prospect, one.sequences, Clock::now());
  }
}

void Dispatcher::open_markets(const std::vector<Place>& places, Clock::time_point now) {
  std::map<Market*, std::vector<const api::PlacedRequest*>> newcomers;
  std::map<Market*, const api::PlacedRequest*> someone;
  for (Entry& entry : waiting_) {
    Market* market = &markets_[entry.request->name];
    someone[market] = entry.request.get();
    if (std::exchange(entry.is_new, false)) {
      newcomers[market].push_back(entry.request.get());
    }
  }
  for (const auto& [market, request] : someone) {
    std::vector<const Load*> engines;
    for (const Place& place : places) {
      if (place.is_called(*request)) {
        engines.push_back(&place.load);
      }
    }
    market->open(engines, newcomers[market], now);
  }
}

// As many as there is time to choose between: those that are worth most, whose engines have room first. Indices of waiting_.
std::vector<std::size_t> Dispatcher::offered(const std::vector<Place>& places,
                                             Clock::time_point now) const {
  struct Offer {
    bool has_no_room = false;
    double worth = 0.0;
    std::size_t index = 0;
  };

  std::vector<Offer> all;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const Entry& entry = waiting_[i];
    const bool has_room = std::ranges::any_of(
        places, [&](const Place& place) { return place.has_room() && place.serves(entry, now); });
    all.push_back({!has_room, markets_.at(entry.request->name).value_of(*entry.request, now), i});
  }
  std::ranges::stable_sort(all, [](const Offer& a, const Offer& b) {  // of equals, who came first
    return a.has_no_room != b.has_no_room ? b.has_no_room : a.worth > b.worth;
  });
  all.resize(std::min(all.size(), kMostOffered));
  std::vector<std::size_t> result;
  for (const Offer& offer : all) {
    result.push_back(offer.index);
  }
  return result;
}

// Where each of the offered goes; null: nowhere yet.
std::vector<const Place*> Dispatcher::assign(const std::vector<std::size_t>& offered,
                                             const std::vector<Place>& places,
                                             Clock::time_point now) {
  std::vector<const Load*> loads;
  for (const Place& place : places) {
    loads.push_back(&place.load);
  }
  std::vector<admission::Applicant> applicants;
  for (const std::size_t i : offered) {
    const Entry& entry = waiting_[i];
    const api::PlacedRequest& request = *entry.request;
    admission::Applicant& applicant = applicants.emplace_back();
    applicant.prospect = request.prospect;
    applicant.sequences = request.sequences;
    applicant.worth = markets_.at(request.name).value_of(request, now);
    for (const Place& place : places) {
      applicant.may_go.push_back(place.serves(entry, now));
      applicant.cached_tokens.push_back(place.prospect_of(request, prefixes_).cached_tokens);
    }
  }
  const admission::Dispatch found = admission::dispatch(
      loads, applicants, now,
      {.out_of_time = [now] { return seconds_between(now, Clock::now()) > kSearch; }});
  {
    const MutexLock lock(mutex_);
    ++counts_.assignments_total;
    counts_.assignment_gap_total += found.value > 0.0 ? found.upper_bound / found.value - 1.0 : 0.0;
  }
  std::vector<const Place*> result;
  for (const std::int32_t engine : found.engine) {
    result.push_back(engine == admission::Dispatch::kWaits
                         ? nullptr
                         : &places[static_cast<std::size_t>(engine)]);
  }
  return result;
}

// An engine whose request ends must not wait for news of it to come here: a few that could be in time wait in it, the most valuable
// first, where each would end soonest.
void Dispatcher::send_ahead(const std::vector<std::size_t>& offered,
                            std::vector<Place>& places,
                            Clock::time_point now,
                            std::vector<const Place*>& where) {
  for (std::size_t k = 0; k < offered.size(); ++k) {
    const Entry& entry = waiting_[offered[k]];
    const api::PlacedRequest& request = *entry.request;
    if (where[k] != nullptr || markets_.at(request.name).value_of(request, now) <= 0.0) {
      continue;
    }
    Place* best = nullptr;
    double soonest = schedule::kNever;
    for (Place& place : places) {
      if (place.load.snapshot.waiting.size() >= kMostAhead || !place.serves(entry, now)) {
        continue;
      }
      const admission::Prospect prospect = place.prospect_of(request, prefixes_);
      if (!admission::may_be_in_time(place.load, prospect, now)) {
        continue;
      }
      const double finish = admission::forecast(place.load, prospect, now).finish_s;
      best = finish < soonest ? &place : best;
      soonest = std::min(soonest, finish);
    }
    if (best != nullptr) {
      where[k] = best;
      best->add_waiting(best->prospect_of(request, prefixes_), request.sequences, now);
    }
  }
}

// Who has waited in vain. False: there is hope.
bool Dispatcher::answer_late(Entry& entry,
                             const std::vector<Place>& places,
                             Clock::time_point now) {
  api::PlacedRequest& request = *entry.request;
  const admission::Prospect& prospect = request.prospect;
  const bool is_late = prospect.deadline && now > *prospect.deadline;
  if (is_late || (prospect.first_token_deadline && now > *prospect.first_token_deadline)) {
    const char* param = is_late ? "deadline_ms" : "first_token_deadline_ms";
    request.reply.send_error(
        {.status = 504,
         .message = fmt::format("The deadline ({}) passed before any server had time.", param),
         .param = param,
         .code = "deadline_exceeded"});
    return true;
  }
  const bool is_served =
      std::ranges::any_of(places, [&](const Place& place) { return place.serves(entry, now); });
  entry.unserved_since =
      is_served ? std::nullopt : std::optional(entry.unserved_since.value_or(now));
  if (is_served || now - *entry.unserved_since < kUnserved) {
    return false;
  }
  request.reply.send_error(unavailable("No server that could answer is there, or takes requests."));
  return true;
}

void Dispatcher::decide() {
  const Clock::time_point now = Clock::now();
  std::vector<Place> all = places();
  open_markets(all, now);
  const std::vector<std::size_t> candidates = offered(all, now);
  std::vector<const Place*> assigned = assign(candidates, all, now);
  send_ahead(candidates, all, now, assigned);
  std::vector<const Place*> where(waiting_.size(), nullptr);
  for (std::size_t k = 0; k < candidates.size(); ++k) {
    where[candidates[k]] = assigned[k];
  }
  std::vector<Entry> left;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    Entry& entry = waiting_[i];
    api::PlacedRequest& request = *entry.request;
    if (where[i] != nullptr) {
      send(std::move(entry), *where[i]);
    } else if (left.size() >= kMostWaiting) {
      markets_[request.name].leave(request);
      request.reply.send_error(unavailable(fmt::format(
          "{} requests are waiting, which is the limit; try again later", kMostWaiting)));
    } else if (answer_late(entry, all, now)) {
      markets_[request.name].leave(request);
    } else {
      left.push_back(std::move(entry));
    }
  }
  waiting_ = std::move(left);
}

void Dispatcher::send(Entry entry, const Place& place) {
  api::PlacedRequest& request = *entry.request;
  Market& market = markets_[request.name];
  market.leave(request);
  entry.charged_seconds = market.charge(request);
  Sent& sent =
      sent_[place.name()].emplace_back(Sent{.prospect = place.prospect_of(request, prefixes_),
                                            .sequences = request.sequences,
                                            .at = Clock::now(),
                                            .is_over = std::make_shared<std::atomic<bool>>(false)});
  prefixes_.add(request.tenant, place.name(), request.beginnings);
  if (place.here != nullptr) {
    send_here(request, place, sent);
    return;
  }
  Node* node = place.node;
  const auto rest = std::make_shared<Entry>(std::move(entry));  // std::function wants it copyable
  auto asked = std::move(rest->request);
  node->forward(std::move(asked), place.model,
                {.give_back =
                     [this, node, rest](std::unique_ptr<api::PlacedRequest> back, bool was_lost) {
                       rest->request = std::move(back);
                       take_back(std::move(*rest), *node, was_lost);
                     },
                 .is_over = sent.is_over});
}

void Dispatcher::send_here(api::PlacedRequest& request, const Place& place, Sent& sent) {
  {
    const MutexLock lock(mutex_);
    ++counts_.here_total;
  }
  request.answer_here(place.here, std::move(request.reply), std::move(request.ticket),
                      [is_over = sent.is_over] { is_over->store(true); });
}

void Dispatcher::take_back(Entry entry, const Node& node, bool was_lost) {
  entry.tried[&node] = Clock::now();
  entry.losses += was_lost ? 1 : 0;
  entry.is_new = false;
  hand_in(std::move(entry));
}

api::PlacementStats Dispatcher::stats() const {
  api::PlacementStats result;
  {
    const MutexLock lock(mutex_);
    result = counts_;
  }
  for (const auto& node : nodes_) {
    result.nodes.push_back(node->stats());
  }
  return result;
}

}  // namespace edgewise::nodes
