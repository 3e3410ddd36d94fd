#include "nodes/node.h"

#include <algorithm>

#include "base/log.h"
#include "net/http_client.h"

namespace edgewise::nodes {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLeastPause{20};  // between questions
constexpr milliseconds kBusyPause{100};  // ... while it has work from here
constexpr milliseconds kIdlePause{1000};
constexpr milliseconds kBusyTime{2000};      // after the last sign of work
constexpr milliseconds kAnswerTime{2000};    // for its load
constexpr milliseconds kSilence{3000};       // after which its answers are given up
constexpr milliseconds kDrainTime{120'000};  // ... where connections are refused
constexpr const char* kNeedsFront =
    ": give it API keys, and the one that this server has there the setting front=true "
    "(docs/serving.md, Several servers)";
constexpr std::size_t kMostLoadBytes = std::size_t{4} << 20U;
constexpr std::size_t kMostWorks = 512;

// Who was not asked lately makes up its mind first (engine::Engine::load).
bool lacks_load(const api::ServerLoad& load) {
  return std::ranges::any_of(load.models, [](const auto& model) { return !model.load; });
}

}  // namespace

Node::Node(NodeOptions options, std::function<void()> changed)
    : options_(std::move(options)), changed_(std::move(changed)) {
  counts_.url = options_.url;
  asking_ = std::thread([this] { ask_until_stopped(); });
}

Node::~Node() {
  stop();
}

void Node::begin_stop() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
    for (Work& work : works_) {
      work.thread.request_stop();
    }
  }
  asking_stop_.request_stop();
  woken_.notify_all();
}

void Node::stop() {
  begin_stop();
  if (asking_.joinable()) {
    asking_.join();
  }
  std::list<Work> works;
  {
    const MutexLock lock(mutex_);
    works = std::move(works_);
    works_.clear();
  }
  works.clear();  // joins
}

std::shared_ptr<const Node::Told> Node::told() const {
  const MutexLock lock(mutex_);
  return told_;
}

bool Node::has_had(std::string_view name) const {
  const MutexLock lock(mutex_);
  return had_.contains(name);
}

void Node::look_soon() {
  {
    const MutexLock lock(mutex_);
    busy_until_ = Clock::now() + kBusyTime;
    asks_now_ = true;
  }
  woken_.notify_all();
}

Result<api::ServerLoad> Node::ask() const {
  net::FetchOptions options;
  options.max_redirects = 0;
  options.connect_timeout = options.stall_timeout = options.total_timeout = kAnswerTime;
  options.authorities_file = options_.authorities_file;
  options.stop = asking_stop_.get_token();
  if (!options_.key.empty()) {
    options.headers.push_back({"Authorization", "Bearer " + options_.key});
  }
  const net::FetchedText text =
      TRY(net::fetch_text(options_.url + "/edgewise/load", options, kMostLoadBytes));
  if (text.head.status != 200) {
    return fail(ErrorCode::kUnsupported, "it answers with {} {}{}", text.head.status,
                net::reason_phrase(text.head.status),
                text.head.status == 401   ? " (its key: --node-key-file, EDGEWISE_NODE_KEY)"
                : text.head.status == 403 ? kNeedsFront
                                          : "");
  }
  auto load = TRY(api::parse_load(text.body));
  if (options_.must_name_tenants && !load.may_name_tenants) {
    return fail(ErrorCode::kPermissionDenied,
                "it would share cached prompts between this server's API keys{}", kNeedsFront);
  }
  return load;
}

void Node::ask_until_stopped() {
  while (true) {
    const Clock::time_point asked_at = Clock::now();
    take(ask(), asked_at);
    changed_();
    std::list<Work> done;
    MutexLock lock(mutex_);
    done = take_done();
    const bool is_busy = told_ != nullptr && (counts_.running > 0 || Clock::now() < busy_until_);
    asks_now_ = asks_now_ || (told_ != nullptr && lacks_load(told_->load));
    const Clock::time_point next = Clock::now() + (is_busy ? kBusyPause : kIdlePause);
    const Clock::time_point least = asked_at + kLeastPause;
    while (!stop_ && Clock::now() < (asks_now_ && told_ != nullptr ? least : next)) {
      woken_.wait_until(lock, asks_now_ && told_ != nullptr ? least : next);
    }
    asks_now_ = false;
    if (stop_) {
      return;
    }
    lock.unlock();
    done.clear();
  }
}

void Node::take(Result<api::ServerLoad> answer, Clock::time_point asked_at) {
  const MutexLock lock(mutex_);
  if (!answer) {
    if (was_usable_) {
      log(LogLevel::kWarning, "the server {} gets no requests: {}", options_.url,
          answer.error().message);
    }
    was_usable_ = false;
    told_ = nullptr;
    give_up_silent(answer.error().code, asked_at);
    return;
  }
  if (!was_usable_) {
    log(LogLevel::kWarning, "the server {} gets requests", options_.url);
  }
  was_usable_ = true;
  silent_since_.reset();
  timeouts_ = 0;
  std::erase_if(answer->models, [&](const api::ModelLoad& model) {
    return !options_.names.contains(model.id) && !options_.names.contains(model.group);
  });
  for (const api::ModelLoad& model : answer->models) {
    had_.insert(options_.names.contains(model.id) ? model.id : model.group);
  }
  told_ = answer->is_draining ? nullptr
                              : std::make_shared<const Told>(Told{*std::move(answer), asked_at});
}

// Any answer, a refusal too, says that it is there and may end well what it has begun. A connection that is refused says so of its
// machine, for some time: so it is when it drains. One that is gone says nothing.
void Node::give_up_silent(ErrorCode error, Clock::time_point asked_at) {
  if (error != ErrorCode::kUnavailable) {
    silent_since_.reset();
    timeouts_ = 0;
    return;
  }
  silent_since_ = silent_since_.value_or(asked_at);
  timeouts_ += Clock::now() - asked_at >= kAnswerTime ? 1 : 0;
  const auto silent = Clock::now() - *silent_since_;
  if (silent > kDrainTime || (timeouts_ > 1 && silent > kSilence)) {
    for (Work& work : works_) {
      work.thread.request_stop();
    }
  }
}

std::list<Node::Work> Node::take_done() {
  std::list<Work> done;
  for (auto work = works_.begin(); work != works_.end();) {
    const auto next = std::next(work);
    if (work->is_done) {
      done.splice(done.end(), works_, work);
    }
    work = next;
  }
  return done;
}

void Node::forward(std::unique_ptr<api::PlacedRequest> request,
                   const std::string& model,
                   Receiver receiver) {
  // Both are needed again when no thread can be had.
  const auto held = std::make_shared<std::unique_ptr<api::PlacedRequest>>(std::move(request));
  const auto shared = std::make_shared<const Receiver>(std::move(receiver));
  if (!begin(held, shared, model)) {
    shared->is_over->store(true);
    shared->give_back(std::move(*held), false);
  }
}

// False: it takes no more.
bool Node::begin(const std::shared_ptr<std::unique_ptr<api::PlacedRequest>>& request,
                 const std::shared_ptr<const Receiver>& receiver,
                 const std::string& model) {
  const MutexLock lock(mutex_);
  if (stop_ || told_ == nullptr || works_.size() >= kMostWorks) {
    return false;
  }
  const Target target{.url = options_.url,
                      .key = options_.key,
                      .authorities_file = options_.authorities_file,
                      .model = model,
                      .names_tenants = told_->load.may_name_tenants};
  Work& work = works_.emplace_back();
  try {
    work.thread = std::jthread(
        [this, request, receiver, target, &is_done = work.is_done](const std::stop_token& stop) {
          answer(std::move(*request), target, *receiver, stop, is_done);
        });
  } catch (const std::system_error& error) {
    works_.pop_back();
    log(LogLevel::kWarning, "{}: no thread for a request: {}", options_.url, error.what());
    return false;
  }
  ++counts_.forwarded_total;
  ++counts_.running;
  return true;
}

void Node::answer(std::unique_ptr<api::PlacedRequest> request,
                  const Target& target,
                  const Receiver& receiver,
                  const std::stop_token& stop,
                  bool& is_done) {
  const ForwardResult result = nodes::forward(target, *request, stop);
  receiver.is_over->store(true);
  if (result.outcome != Forwarded::kAnswered) {
    log(LogLevel::kWarning, "{}: {}", options_.url, result.why);
  }
  const bool is_back =
      result.outcome == Forwarded::kRefused || result.outcome == Forwarded::kVanished;
  {
    const MutexLock lock(mutex_);
    --counts_.running;
    counts_.returned_total += is_back ? 1 : 0;
    counts_.lost_total += result.outcome == Forwarded::kLost ? 1 : 0;
  }
  if (is_back) {
    receiver.give_back(std::move(request), result.outcome == Forwarded::kVanished);
  }
  request.reset();
  look_soon();  // there is room now
  const MutexLock lock(mutex_);
  is_done = true;
}

api::PlacementStats::Node Node::stats() const {
  const MutexLock lock(mutex_);
  api::PlacementStats::Node counts = counts_;
  counts.is_up = told_ != nullptr;
  return counts;
}

}  // namespace edgewise::nodes
