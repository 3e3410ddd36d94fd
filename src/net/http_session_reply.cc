// The part of HttpSession that answers: finds the route, and sends what its handler says.
#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <iterator>

#include "net/http_session.h"

namespace edgewise::net {
namespace {

// A reply of the server's own, not of a handler.
Response own_reply(const HttpServerOptions& options, int status, const std::string& message) {
  Response response{.status = status};
  if (options.error_body) {
    response.body = options.error_body(status, message);
  } else {
    response.content_type = "text/plain; charset=utf-8";
    response.body = message + "\n";
  }
  if (status == 503) {
    response.headers.push_back({"Retry-After", "1"});
  }
  return response;
}

}  // namespace

std::string HttpSession::head_text(const Response& response,
                                   const Request& request,
                                   bool keep_alive,
                                   std::string_view framing) const {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  const auto add = [&head](std::string_view name, std::string_view value) {
    fmt::format_to(std::back_inserter(head), "{}: {}\r\n", name, value);
  };
  if (!response.content_type.empty()) {
    add("Content-Type", response.content_type);
  }
  head += framing;
  add("Connection", keep_alive ? "keep-alive" : "close");
  if (!request.id.empty()) {
    add("x-request-id", request.id);
  }
  for (const Header& header : cors_headers(context_.options.cors, request)) {
    if (find_header(response.headers, header.name).empty()) {
      add(header.name, header.value);
    }
  }
  for (const Header& header : response.headers) {
    add(header.name, header.value);
  }
  head += "\r\n";
  return head;
}

asio::awaitable<bool> HttpSession::reply_now(Response response,
                                             const Request& request,
                                             bool keep_alive) {
  keep_alive = keep_alive && !context_.draining;
  const bool has_body = response.status != 204;
  std::string text = head_text(
      response, request, keep_alive,
      has_body ? fmt::format("Content-Length: {}\r\n", response.body.size()) : std::string());
  const bool sends_body = has_body && request.method != "HEAD";
  if (sends_body && response.body.size() <= kWritePiece) {
    text += response.body;
  }
  bool is_sent = co_await write(text);
  if (sends_body && response.body.size() > kWritePiece) {
    is_sent = co_await write(response.body);
  }
  co_return is_sent&& keep_alive;
}

// Remembers why this request is not served; always false. What is left of it is not read.
bool HttpSession::refuse(int status, const std::string& message) {
  refusal_ = own_reply(context_.options, status, message);
  return false;
}

asio::awaitable<void> HttpSession::send_refusal(const Request& request) {
  if (!refusal_) {
    co_return;  // the client went away, or was silent
  }
  if (context_.options.on_reply) {
    context_.options.on_reply("", refusal_->status);
  }
  co_await reply_now(*refusal_, request, false);
}

asio::awaitable<bool> HttpSession::answer_options(const Request& request,
                                                  const std::string& allow,
                                                  bool keep_alive) {
  Response response{.status = 204, .content_type = "", .headers = {{"Allow", allow}}, .body = {}};
  if (!request.header("Access-Control-Request-Method").empty()) {
    for (Header& header : preflight_headers(context_.options.cors, request, allow)) {
      response.headers.push_back(std::move(header));
    }
  }
  co_return co_await reply_now(std::move(response), request, keep_alive);
}

asio::awaitable<bool> HttpSession::answer(Request request, bool keep_alive, bool chunks) {
  Router::Match match = context_.router.find(request.method, request.path);
  if (match.allow.empty() || (!match.handler && request.method != "OPTIONS")) {
    const int status = match.allow.empty() ? 404 : 405;
    const std::string message = status == 404
                                    ? fmt::format("There is nothing at {}.", request.path)
                                    : fmt::format("{} is not allowed at {}; allowed: {}.",
                                                  request.method, request.path, match.allow);
    Response response = own_reply(context_.options, status, message);
    if (status == 405) {
      response.headers.push_back({"Allow", match.allow});
    }
    if (context_.options.on_reply) {
      context_.options.on_reply(match.route, status);
    }
    co_return co_await reply_now(std::move(response), request, keep_alive);
  }
  if (request.method == "OPTIONS") {
    co_return co_await answer_options(request, match.allow, keep_alive);
  }
  Request request_head;  // what the reply's head depends on; the handler gets the rest
  request_head.id = request.id;
  request_head.method = request.method;
  request_head.headers = request.headers;
  request.tail = std::move(match.tail);

  const auto exchange = std::make_shared<Exchange>(
      [executor = stream_->socket().get_executor(), weak = weak_from_this()] {
        asio::post(executor, [weak] {
          if (const auto session = weak.lock()) {
            session->look_at_exchange();
          }
        });
      },
      context_.options.max_queued_bytes, context_.link != nullptr);
  exchange_ = exchange;
  ++context_.active_requests;
  if (match.is_quick) {
    (*match.handler)(std::move(request), Responder(exchange));
  } else {
    asio::post(context_.handlers, [handler = match.handler, request = std::move(request),
                                   responder = Responder(exchange)]() mutable {
      (*handler)(std::move(request), std::move(responder));
    });
  }
  const bool goes_on = co_await send_outputs(*exchange, request_head, keep_alive, chunks);
  leave(*exchange, goes_on);
  exchange_ = nullptr;
  --context_.active_requests;
  co_return goes_on;
}

// What goes out of a stream's output.
std::string HttpSession::frame(const Exchange::Output& output,
                               const Request& request_head,
                               bool keep_alive,
                               bool chunks) const {
  std::string text;
  if (output.head) {
    text = head_text(*output.head, request_head, keep_alive,
                     chunks ? "Transfer-Encoding: chunked\r\n" : "");
  }
  if (request_head.method == "HEAD") {
    return text;
  }
  if (!chunks) {
    return text + output.bytes;
  }
  if (!output.bytes.empty()) {
    fmt::format_to(std::back_inserter(text), "{:x}\r\n{}\r\n", output.bytes.size(), output.bytes);
  }
  return output.finished ? text + "0\r\n\r\n" : text;
}

asio::awaitable<bool> HttpSession::send_outputs(Exchange& exchange,
                                                const Request& request_head,
                                                bool keep_alive,
                                                bool chunks) {
  bool goes_on = false;
  bool is_streaming = false;
  for (;;) {
    // What is taken as late as possible holds the most, in the fewest bytes.
    if (context_.link != nullptr && exchange.has_output() && !co_await take_turn(0)) {
      break;
    }
    Exchange::Output output = exchange.take();
    if (output.cut) {
      close();
    }
    if (peer_gone_ || closed_) {
      break;
    }
    if (output.head && output.whole) {
      if (output.head->status == 500 && output.head->body.empty()) {
        *output.head = own_reply(context_.options, 500,
                                 "The request was dropped inside the server: this is a bug.");
      }
      goes_on = co_await reply_now(std::move(*output.head), request_head, keep_alive);
      break;
    }
    if (output.head) {
      is_streaming = true;
      keep_alive = keep_alive && chunks && !context_.draining;
    }
    const std::string text = frame(output, request_head, keep_alive, chunks);
    if (!text.empty() && !co_await write(text)) {
      break;
    }
    if (is_streaming && output.finished) {
      goes_on = keep_alive;
      break;
    }
    if (text.empty()) {
      leave_link();
    }
    if (!output.head && output.bytes.empty()) {
      const auto next_call = exchange.next_call();
      if (co_await wait(next_call.value_or(Clock::time_point::max())) == Wake::kTimeout) {
        exchange.run_call();
      } else if (next_call && Clock::now() >= *next_call) {
        exchange.run_call();
      }
    }
  }
  co_return goes_on;
}

void HttpSession::leave(Exchange& exchange, bool goes_on) {
  leave_link();
  if (context_.link != nullptr && !peer_gone_ && !closed_) {
    context_.link->end_reply(place_);
  }
  if (goes_on || (!peer_gone_ && !closed_)) {
    exchange.close();
  } else {
    exchange.disconnect();
  }
}

}  // namespace edgewise::net
