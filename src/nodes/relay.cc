#include "nodes/relay.h"

#include <algorithm>

#include "api/json.h"

namespace edgewise::nodes {
namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20U;  // of a whole reply, or of one event

constexpr std::int64_t kMostTokens = std::int64_t{1} << 31U;
constexpr std::size_t kMostCodeBytes = 64;

std::int64_t count_of(const api::JsonValue* usage, std::string_view name) {
  const api::JsonValue* value = usage != nullptr ? usage->find(name) : nullptr;
  const std::int64_t* count = value != nullptr ? value->as_integer() : nullptr;
  return count != nullptr ? std::clamp<std::int64_t>(*count, 0, kMostTokens) : 0;
}

}  // namespace

net::FetchSink Relay::sink() {
  return {.on_head = [this](const net::FetchHead& head) -> Result<void> {
            head_ = head;
            is_stream_ =
                head.status == 200 &&
                net::find_header(head.headers, "Content-Type").starts_with("text/event-stream");
            return {};
          },
          .on_bytes = [this](std::string_view bytes) { return take(bytes); }};
}

Result<void> Relay::take(std::string_view bytes) {
  if (text_.size() + bytes.size() > kMostBytes) {
    return edgewise::fail(ErrorCode::kResourceExhausted, "its answer is larger than {} bytes",
                          kMostBytes);
  }
  const std::size_t before = text_.size();
  text_ += bytes;
  return is_stream_ ? tell_events(before > 0 ? before - 1 : 0) : Result<void>();
}

// Only whole events: what is broken off in one is not told, so that an error can follow. `searched`: bytes of the text in
// which none ends.
Result<void> Relay::tell_events(std::size_t searched) {
  std::size_t end = 0;
  for (std::size_t at = searched; (at = text_.find("\n\n", at)) != std::string::npos;) {
    at += 2;
    end = at;
    ++events_;
  }
  if (end == 0) {
    return {};
  }
  const std::string events = text_.substr(0, end);
  text_.erase(0, end);
  if (!request_.reply.write_events(events)) {
    return edgewise::fail(ErrorCode::kCancelled, "the client is gone");
  }
  return {};
}

std::string Relay::error_code() const {
  const auto body = api::parse_json_object(text_);
  const api::JsonValue* error = body ? body->find("error") : nullptr;
  const api::JsonValue* code = error != nullptr ? error->find("code") : nullptr;
  const std::string* text = code != nullptr ? code->as_string() : nullptr;
  const auto is_code = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  return text != nullptr && text->size() <= kMostCodeBytes && std::ranges::all_of(*text, is_code)
             ? *text
             : "";
}

bool Relay::is_for_client() const {
  return is_stream_ || head_.status == 200 ||
         (head_.status == 504 && error_code() == "deadline_exceeded") ||
         (head_.status == 503 && error_code() == "deadline_unreachable");
}

std::string Relay::why_not() const {
  const std::string code = error_code();
  return fmt::format("it answered with {} {}{}{}", head_.status, net::reason_phrase(head_.status),
                     code.empty() ? "" : ", ", code);
}

// As GenerationJob charges, by the reply's usage.
std::int64_t Relay::whole_tokens() const {
  const auto body = api::parse_json_object(text_);
  const api::JsonValue* usage = body ? body->find("usage") : nullptr;
  const api::JsonValue* details = usage != nullptr ? usage->find("prompt_tokens_details") : nullptr;
  return std::max<std::int64_t>(
      0, count_of(usage, "prompt_tokens") + count_of(usage, "completion_tokens") -
             count_of(details, "cached_tokens") - count_of(details, "approximate_tokens"));
}

void Relay::charge(std::int64_t tokens) {
  request_.ticket.charge(tokens);
  request_.ticket = {};
}

// Of a reply that did not come to its end, or is a stream: an event is about a token.
void Relay::charge_begun() {
  charge(request_.prompt_tokens + events_);
}

void Relay::finish() {
  if (is_stream_) {
    charge_begun();
    request_.reply.end_relayed_events();
    return;
  }
  charge(whole_tokens());
  net::Response response{.status = head_.status, .body = std::move(text_)};
  for (const char* name : {"Retry-After", "x-should-retry"}) {
    if (const std::string_view value = net::find_header(head_.headers, name); !value.empty()) {
      response.headers.push_back({name, std::string(value)});
    }
  }
  request_.reply.send(std::move(response));
}

void Relay::fail(const api::ApiError& error) {
  charge_begun();
  has_told() ? request_.reply.fail_events(error) : request_.reply.send_error(error);
}

void Relay::abandon() {
  charge_begun();
  request_.reply.count_gone();
}

}  // namespace edgewise::nodes
