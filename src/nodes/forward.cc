#include "nodes/forward.h"

#include <algorithm>

#include "api/json_writer.h"
#include "nodes/relay.h"
#include "platform/sha256.h"

namespace edgewise::nodes {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kConnect{2000};
// A queue there, or a long answer that comes whole. A server that vanishes is noticed by asking for its load.
constexpr milliseconds kStall{24 * 3600 * 1000};
constexpr milliseconds kGrace{1000};  // after its deadline the other server says so itself

milliseconds remaining(const api::PlacedRequest& request, milliseconds limit) {
  const auto elapsed =
      std::chrono::duration_cast<milliseconds>(Clock::now() - request.reply.arrived());
  return std::max(milliseconds(1), limit - elapsed);
}

// What the request's fields, headers and key said together, less the time that has passed.
std::vector<net::Header> headers_of(const Target& target, const api::PlacedRequest& request) {
  std::vector<net::Header> headers;
  const auto add = [&](std::string name, const auto& value) {
    headers.push_back({std::move(name), fmt::format("{}", value)});
  };
  if (!target.key.empty()) {
    add("Authorization", "Bearer " + target.key);
  }
  if (target.names_tenants && !request.tenant.empty()) {
    add(std::string(api::kTenantHeader), platform::sha256_of_text(target.key + request.tenant));
  }
  add(std::string(api::kForwardedHeader), "1");
  const api::ServiceLevel& level = request.service;
  if (level.deadline) {
    add("X-Edgewise-Deadline-Ms", remaining(request, *level.deadline).count());
  }
  if (level.first_token_deadline) {
    add("X-Edgewise-First-Token-Deadline-Ms",
        remaining(request, *level.first_token_deadline).count());
  }
  if (level.priority) {
    add("X-Edgewise-Priority", *level.priority);
  }
  if (level.min_accuracy) {
    add("X-Edgewise-Min-Accuracy", *level.min_accuracy);
  }
  if (request.prospect.min_tokens > 0) {
    add("X-Edgewise-Min-Tokens", request.prospect.min_tokens);
  }
  if (request.prospect.max_tokens > 0) {
    add("X-Edgewise-Max-Tokens", request.prospect.max_tokens);
  }
  if (request.prospect.ignore_eos) {
    add("X-Edgewise-Ignore-Eos", "true");
  }
  if (level.approximate_reuse) {
    add("X-Edgewise-Approximate-Reuse", *level.approximate_reuse);
  }
  return headers;
}

std::string body_of(const Target& target, const api::PlacedRequest& request) {
  api::JsonWriter model;
  model.string(target.model);
  return fmt::format("{{\"model\":{}{}}}", model.text(), request.fields);
}

api::ApiError too_late() {
  return {.status = 504,
          .message = "The deadline (deadline_ms) passed before the answer was complete.",
          .param = "deadline_ms",
          .code = "deadline_exceeded"};
}

}  // namespace

ForwardResult forward(const Target& target,
                      api::PlacedRequest& request,
                      const std::stop_token& stop) {
  const net::Responder client = request.reply.responder();
  std::stop_source end;
  const std::stop_callback on_stop(stop, [&end] { end.request_stop(); });
  client.on_disconnect([end]() mutable { end.request_stop(); });
  net::FetchOptions options;
  options.upload = {.content_type = "application/json", .body = body_of(target, request)};
  options.headers = headers_of(target, request);
  options.authorities_file = target.authorities_file;
  options.connect_timeout = kConnect;
  options.stall_timeout = kStall;
  options.stop = end.get_token();
  if (request.service.deadline) {
    options.total_timeout = remaining(request, *request.service.deadline) + kGrace;
  }
  request.reply.trace().set_model(target.model);
  Relay relay(request);
  net::FetchSink sink = relay.sink();
  bool has_connected = false;
  sink.on_connected = [&has_connected] { has_connected = true; };
  const auto fetched = net::fetch(target.url + request.path, options, sink);
  if (fetched && relay.is_for_client()) {
    relay.finish();
    return {};
  }
  if (fetched) {
    return {.outcome = Forwarded::kRefused, .why = relay.why_not()};
  }
  if (!client.is_open()) {
    relay.abandon();
    return {};
  }
  if (request.service.deadline &&
      request.reply.arrived() + *request.service.deadline < Clock::now()) {
    relay.fail(too_late());
    return {};
  }
  if (!relay.has_told()) {
    return {.outcome = has_connected ? Forwarded::kVanished : Forwarded::kRefused,
            .why = fetched.error().message};
  }
  relay.fail({.status = 502,
              .message = "The server that was answering was lost in the middle of the answer.",
              .code = "node_lost"});
  return {.outcome = Forwarded::kLost, .why = fetched.error().message};
}

}  // namespace edgewise::nodes
