#include "api/request_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace edgewise::api {
namespace {

// Of a request: more answers are counted, but have no spans of their own.
constexpr std::size_t kMostAnswers = 16;

// gen_ai.operation.name of OpenTelemetry's conventions.
std::string operation_of(std::string_view route) {
  return route == "/v1/chat/completions" ? "chat"
         : route == "/v1/completions"    ? "text_completion"
         : route == "/v1/embeddings"     ? "embeddings"
                                         : "";
}

// The caller's trace, where he has a valid one: several headers are none.
std::optional<trace::TraceContext> context_of(const net::Request& request) {
  const auto is_parent = [](const net::Header& header) {
    return net::names_equal(header.name, "traceparent");
  };
  return std::ranges::count_if(request.headers, is_parent) == 1
             ? trace::parse_traceparent(request.header("traceparent"))
             : std::nullopt;
}

std::chrono::steady_clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

}  // namespace

RequestTrace::RequestTrace(std::shared_ptr<trace::Exporter> exporter,
                           std::string_view route,
                           const net::Request& request)
    : exporter_(std::move(exporter)),
      operation_(operation_of(route)),
      route_(route),
      request_id_(request.id),
      arrived_(request.arrived),
      steady_now_(Clock::now()),
      system_now_(std::chrono::system_clock::now()) {
  const std::optional<trace::TraceContext> caller = context_of(request);
  if (operation_.empty() || (caller && !caller->is_sampled)) {
    exporter_.reset();
  }
  if (exporter_ == nullptr) {
    return;
  }
  root_.trace = caller ? caller->trace : trace::new_trace_id();
  root_.parent = caller ? caller->span : trace::SpanId{};
  root_.id = trace::new_span_id();
}

void RequestTrace::set_model(std::string_view id) {
  const MutexLock lock(mutex_);
  model_ =
      text::is_valid_utf8(id) ? id : "(not UTF-8)";  // collectors refuse all of a batch with it
}

void RequestTrace::add_answer(const engine::Usage& usage,
                              std::string_view finish,
                              bool counts_prompt) {
  if (exporter_ == nullptr) {
    return;
  }
  const Clock::time_point now = Clock::now();
  const MutexLock lock(mutex_);
  if (counts_prompt) {
    usage_.prompt_tokens += usage.prompt_tokens;
    usage_.cached_tokens += usage.cached_tokens;
    usage_.approximate_tokens += usage.approximate_tokens;
  }
  usage_.completion_tokens += usage.completion_tokens;
  if (!finish.empty()) {
    finishes_.emplace_back(finish);
  }
  if (const std::size_t answer = answers_++; answer < kMostAnswers) {
    const Clock::time_point read = now - to_duration(usage.decode_seconds);
    const Clock::time_point begun = read - to_duration(usage.prefill_seconds);
    add_phase("queue", answer, begun - to_duration(usage.queue_seconds), usage.queue_seconds);
    add_phase("prefill", answer, begun, usage.prefill_seconds);
    add_phase("decode", answer, read, usage.decode_seconds);
  }
}

// Nothing for what never began.
void RequestTrace::add_phase(const char* name,
                             std::size_t answer,
                             Clock::time_point begin,
                             double seconds) {
  if (seconds <= 0.0) {
    return;
  }
  trace::Span span;
  span.trace = root_.trace;
  span.parent = root_.id;
  span.id = trace::new_span_id();
  span.name = name;
  span.start_ns = nanoseconds(begin);
  span.end_ns = nanoseconds(begin + to_duration(seconds));
  span.attributes = {{"edgewise.answer", static_cast<std::int64_t>(answer)}};
  phases_.push_back(std::move(span));
}

void RequestTrace::set_error(const ApiError& error) {
  const MutexLock lock(mutex_);
  error_ = error.code.empty() ? error_type(error.status) : error.code;
}

void RequestTrace::end(int status) {
  const MutexLock lock(mutex_);
  status_ = status;
  end_ = Clock::now();
}

void RequestTrace::set_sent(Clock::duration waited) {
  const MutexLock lock(mutex_);
  end_ = Clock::now();
  link_wait_ = std::chrono::round<std::chrono::milliseconds>(waited);
}

std::int64_t RequestTrace::nanoseconds(Clock::time_point when) const {
  using std::chrono::duration_cast;
  using std::chrono::nanoseconds;
  return duration_cast<nanoseconds>(system_now_.time_since_epoch()).count() +
         duration_cast<nanoseconds>(when - steady_now_).count();
}

trace::Span RequestTrace::whole() const {
  trace::Span span = root_;
  span.name = model_.empty() ? operation_ : fmt::format("{} {}", operation_, model_);
  span.kind = trace::SpanKind::kServer;
  span.start_ns = nanoseconds(arrived_);
  span.end_ns = nanoseconds(end_);
  span.attributes = {{"gen_ai.operation.name", operation_},
                     {"gen_ai.provider.name", "edgewise"},
                     {"http.request.method", "POST"},
                     {"http.route", route_},
                     {"http.response.status_code", std::int64_t{status_}},
                     {"edgewise.request.id", request_id_}};
  if (!model_.empty()) {
    span.attributes.push_back({"gen_ai.request.model", model_});
    span.attributes.push_back({"gen_ai.response.model", model_});
  }
  if (answers_ > 0) {
    span.attributes.push_back({"gen_ai.usage.input_tokens", usage_.prompt_tokens});
    span.attributes.push_back({"gen_ai.usage.cache_read.input_tokens", usage_.cached_tokens});
    if (usage_.approximate_tokens > 0) {
      span.attributes.push_back(
          {"edgewise.usage.approximate_input_tokens", usage_.approximate_tokens});
    }
    span.attributes.push_back({"gen_ai.usage.output_tokens", usage_.completion_tokens});
  }
  if (link_wait_.has_value()) {
    span.attributes.push_back({"edgewise.link.wait_ms", std::int64_t{link_wait_->count()}});
  }
  if (!finishes_.empty()) {
    span.attributes.push_back({"gen_ai.response.finish_reasons", finishes_});
  }
  if (status_ >= 400) {
    span.attributes.push_back({"error.type", error_.empty() ? std::to_string(status_) : error_});
  }
  span.is_error = status_ >= 500;  // else the fault is the client's, as OpenTelemetry has it
  return span;
}

RequestTrace::~RequestTrace() {
  if (exporter_ == nullptr) {
    return;
  }
  if (status_ == 0) {  // the server ended before the reply
    end(500);
  }
  std::vector<trace::Span> spans = std::move(phases_);
  spans.push_back(whole());
  exporter_->add(std::move(spans));
}

}  // namespace edgewise::api
