#include "api/reply.h"

namespace edgewise::api {

std::string Reply::event_text(std::string_view json) {
  std::string text = "data: ";
  text += json;
  text += "\n\n";
  return text;
}

double Reply::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - arrived_).count();
}

void Reply::count(int status) {
  if (!is_counted_) {
    is_counted_ = true;
    metrics_->count_request(route_, status, seconds());
    trace_->end(status);
  }
}

void Reply::send(net::Response response) {
  count(response.status);
  responder_.send(std::move(response));
}

void Reply::send_error(const ApiError& error) {
  trace_->set_error(error);
  send(error_response(error));
}

void Reply::begin_events() {
  if (!has_events_) {
    has_events_ = true;
    // Proxies (nginx) must not hold events back.
    responder_.begin({.content_type = "text/event-stream; charset=utf-8",
                      .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  }
}

bool Reply::event(std::string_view json) {
  return write_events(event_text(json));
}

bool Reply::write_events(std::string_view text) {
  begin_events();
  return responder_.write(text);
}

bool Reply::offer(std::size_t bytes) {
  begin_events();
  return responder_.offer(bytes);
}

void Reply::end_events() {
  event("[DONE]");
  responder_.end();
  count(200);
}

void Reply::end_relayed_events() {
  begin_events();
  responder_.end();
  count(200);
}

void Reply::fail_events(const ApiError& error) {
  trace_->set_error(error);
  event(error_json(error));
  responder_.end();
  count(error.status);
}

void Reply::count_gone() {
  count(499);
}

}  // namespace edgewise::api
