#include "trace/exporter.h"

#include <algorithm>
#include <deque>
#include <stop_token>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "net/http_client.h"
#include "net/url.h"

namespace edgewise::trace {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMostReplyBytes = 64 * 1024;

}  // namespace

struct Exporter::State {
  explicit State(ExporterOptions o) : options(std::move(o)) {}

  void run();
  std::vector<Span> take_batch();
  void send(const std::vector<Span>& batch);
  Result<std::int64_t> post(const std::vector<Span>& batch);
  void tell(const Result<std::int64_t>& taken);

  const ExporterOptions options;
  std::stop_source giving_up;  // ends a batch that is on its way
  bool is_told = false;        // the thread's: that the collector takes nothing

  mutable Mutex mutex;
  Condition changed;
  std::deque<Span> queue EDGEWISE_GUARDED_BY(mutex);
  ExportCounts counts EDGEWISE_GUARDED_BY(mutex);
  bool is_closing EDGEWISE_GUARDED_BY(mutex) = false;
  bool has_ended EDGEWISE_GUARDED_BY(mutex) = false;
  std::thread thread;
};

void Exporter::State::run() {
  while (true) {
    const std::vector<Span> batch = take_batch();
    if (batch.empty()) {
      break;
    }
    send(batch);
  }
  const MutexLock lock(mutex);
  has_ended = true;
  changed.notify_all();
}

// Waits for a full batch, or for `delay` once there is a span. Empty: it is over.
std::vector<Span> Exporter::State::take_batch() {
  MutexLock lock(mutex);
  while (queue.empty() && !is_closing) {
    changed.wait(lock);
  }
  const Clock::time_point latest = Clock::now() + options.delay;
  while (queue.size() < options.max_batch && !is_closing && changed.wait_until(lock, latest)) {
  }
  const auto end =
      queue.begin() + static_cast<std::ptrdiff_t>(std::min(queue.size(), options.max_batch));
  std::vector<Span> batch(std::make_move_iterator(queue.begin()), std::make_move_iterator(end));
  queue.erase(queue.begin(), end);
  return batch;
}

// How many the collector took.
Result<std::int64_t> Exporter::State::post(const std::vector<Span>& batch) {
  net::FetchOptions fetching;
  fetching.headers = options.headers;
  fetching.upload = {"application/x-protobuf", encode_otlp(options.resource, batch)};
  fetching.total_timeout = options.timeout;
  fetching.stop = giving_up.get_token();
  const net::FetchedText reply = TRY(net::fetch_text(options.url, fetching, kMostReplyBytes));
  if (reply.head.status != 200 && reply.head.status != 202) {
    return fail(ErrorCode::kPermissionDenied, "the collector answered {}", reply.head.status);
  }
  return std::max<std::int64_t>(0, std::ssize(batch) - rejected_spans(reply.body));
}

void Exporter::State::send(const std::vector<Span>& batch) {
  const Result<std::int64_t> taken = post(batch);
  tell(taken);
  const MutexLock lock(mutex);
  if (taken) {
    counts.sent += *taken;
    counts.lost_refused += std::ssize(batch) - *taken;
  } else if (taken.error().code == ErrorCode::kPermissionDenied) {
    counts.lost_refused += std::ssize(batch);
  } else {
    counts.lost_unreachable += std::ssize(batch);
  }
}

// Once when it begins, once when it is over: a collector may be away for days.
void Exporter::State::tell(const Result<std::int64_t>& taken) {
  if (!taken && !is_told) {
    log(LogLevel::kWarning, "traces are lost: {}", taken.error().message);
  } else if (taken && is_told) {
    log(LogLevel::kWarning, "traces are sent again");
  }
  is_told = !taken;
}

Exporter::Exporter(ExporterOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Result<std::shared_ptr<Exporter>> Exporter::create(ExporterOptions options) {
  TRY_VOID(net::parse_url(options.url).map([](const net::Url&) {}));
  std::shared_ptr<Exporter> exporter(new Exporter(std::move(options)));
  State& state = *exporter->state_;
  state.thread = std::thread([&state] { state.run(); });
  return exporter;
}

Exporter::~Exporter() {
  {
    MutexLock lock(state_->mutex);
    state_->is_closing = true;
    state_->changed.notify_all();
    const Clock::time_point latest = Clock::now() + state_->options.last_words;
    while (!state_->has_ended && state_->changed.wait_until(lock, latest)) {
    }
  }
  state_->giving_up.request_stop();
  state_->thread.join();
}

void Exporter::add(std::vector<Span> spans) {
  const MutexLock lock(state_->mutex);
  if (state_->queue.size() + spans.size() > state_->options.max_queued) {
    state_->counts.lost_queue_full += std::ssize(spans);
    return;
  }
  std::move(spans.begin(), spans.end(), std::back_inserter(state_->queue));
  state_->changed.notify_all();
}

ExportCounts Exporter::counts() const {
  const MutexLock lock(state_->mutex);
  return state_->counts;
}

}  // namespace edgewise::trace
