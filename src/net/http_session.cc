#include "net/http_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace edgewise::net {
namespace {

using namespace std::chrono_literals;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadChunk = 16 * 1024;
constexpr std::size_t kWritePiece = 64 * 1024;          // the write timeout starts again with each
constexpr std::size_t kBodyBytesPerSecond = 16 * 1024;  // slower bodies time out
constexpr auto kLinger = 3s;

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

HttpSession::HttpSession(SessionContext& context,
                         std::unique_ptr<ByteStream> stream,
                         std::string peer)
    : context_(context),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      event_(stream_->socket().get_executor()),
      space_(stream_->socket().get_executor()),
      guard_(stream_->socket().get_executor()) {
  place_.wake = [this] { wake(); };
}

HttpSession::~HttpSession() {
  leave_link();
  account_body(0);
}

void HttpSession::account_body(std::size_t bytes) {
  context_.body_bytes += bytes - accounted_body_;
  accounted_body_ = bytes;
}

void HttpSession::wake() {
  pending_event_ = true;
  event_.cancel();
}

// Neither waits for a turn nor has one.
void HttpSession::leave_link() {
  if (context_.link != nullptr) {
    context_.link->leave(place_);
  }
}

void HttpSession::close() {
  closed_ = true;
  leave_link();
  stream_->close();
  guard_.cancel();
  space_.cancel();
  wake();
}

std::optional<HttpSession::Clock::time_point> HttpSession::idle_since() const {
  return closed_ ? std::nullopt : idle_since_;
}

// Waits for wake() or the deadline. Events that came before the call count.
asio::awaitable<HttpSession::Wake> HttpSession::wait(Clock::time_point deadline) {
  if (!pending_event_) {
    event_.expires_at(deadline);
    co_await event_.async_wait(kAwait);
  }
  co_return std::exchange(pending_event_, false) ? Wake::kEvent : Wake::kTimeout;
}

// The reply moved on. A cut must be heard even while run() is stuck in a write to a client that
// does not read.
void HttpSession::look_at_exchange() {
  if (exchange_ && exchange_->is_cut()) {
    close();
  }
  wake();
}

asio::awaitable<bool> HttpSession::handshake() {
  guard_.expires_after(context_.options.header_timeout);
  guard_.async_wait(
      [self = shared_from_this(), generation = ++guard_generation_](ErrorCodeAsio ec) {
        if (!ec && generation == self->guard_generation_) {
          self->close();
        }
      });
  const ErrorCodeAsio ec = co_await stream_->handshake();
  ++guard_generation_;
  guard_.cancel();
  co_return !ec;
}

// Waits for this connection's turn on the link, for `bytes` and what its exchange has. False: there is nobody to send to
// any more.
asio::awaitable<bool> HttpSession::take_turn(std::size_t bytes) {
  LinkGate& link = *context_.link;
  while (!place_.has_turn()) {
    if (closed_ || (exchange_ && peer_gone_)) {
      leave_link();
      co_return false;
    }
    if (exchange_) {
      if (auto terms = exchange_->take_terms()) {
        link.set_terms(place_, std::move(*terms));
      }
    }
    link.wait(place_, bytes + (exchange_ ? exchange_->waiting_bytes() : 0));
    if (place_.has_turn()) {
      break;
    }
    const auto next_call = exchange_ ? exchange_->next_call() : std::nullopt;
    const Wake wake = co_await wait(next_call.value_or(Clock::time_point::max()));
    if (next_call && (wake == Wake::kTimeout || Clock::now() >= *next_call)) {
      exchange_->run_call();
    }
  }
  co_return true;
}

asio::awaitable<bool> HttpSession::write(std::string_view bytes) {
  LinkGate* const link = context_.link;
  while (!bytes.empty() && !closed_) {
    if (link != nullptr && !co_await take_turn(bytes.size())) {
      break;
    }
    const std::size_t most = link != nullptr ? link->piece() : kWritePiece;
    guard_.expires_after(context_.options.write_timeout);
    guard_.async_wait(
        [self = shared_from_this(), generation = ++guard_generation_](ErrorCodeAsio ec) {
          if (!ec && generation == self->guard_generation_) {
            self->close();
          }
        });
    const auto [ec, count] = co_await stream_->write_some(bytes.substr(0, most));
    ++guard_generation_;
    if (place_.has_turn()) {
      link->sent(place_, count, ec ? 0 : bytes.size() - count);
    }
    if (ec) {
      close();
      break;
    }
    bytes.remove_prefix(count);
  }
  guard_.cancel();
  co_return bytes.empty() && !closed_;
}

asio::awaitable<void> HttpSession::read_all() {
  const std::size_t room = context_.options.limits.max_header_bytes + kReadChunk;
  std::array<char, kReadChunk> chunk;
  while (!closed_) {
    if (input_.size() >= room && !discarding_) {
      space_.expires_at(Clock::time_point::max());
      co_await space_.async_wait(kAwait);
      continue;
    }
    const auto [ec, count] = co_await stream_->read_some(chunk);
    if (ec) {
      break;
    }
    if (!discarding_) {
      input_.append(chunk.data(), count);
    }
    wake();
  }
  peer_gone_ = true;
  wake();
  if (const auto exchange = exchange_) {
    exchange->disconnect();
  }
}

asio::awaitable<void> HttpSession::run() {
  const auto self = shared_from_this();
  if (co_await handshake()) {
    asio::co_spawn(
        stream_->socket().get_executor(), [self]() { return self->read_all(); }, asio::detached);
    while (!closed_ && co_await serve_one()) {
    }
    co_await linger();
  }
  close();
}

asio::awaitable<void> HttpSession::run_refused() {
  const auto self = shared_from_this();
  if (co_await handshake()) {
    asio::co_spawn(
        stream_->socket().get_executor(), [self]() { return self->read_all(); }, asio::detached);
    const Request unread;
    refuse(503, "The server has as many connections as it takes. Try again in a moment.");
    co_await send_refusal(unread);
    co_await linger();
  }
  close();
}

// Closing with unread input would reset the connection and could destroy the reply on its way (RFC
// 9112, 9.6): say that nothing more comes, and give the client a moment to read and go.
asio::awaitable<void> HttpSession::linger() {
  if (closed_ || peer_gone_) {
    co_return;
  }
  discarding_ = true;
  input_.clear();
  space_.cancel();
  stream_->shutdown_send();
  const auto deadline = Clock::now() + kLinger;
  while (!peer_gone_ && !closed_ && Clock::now() < deadline) {
    co_await wait(deadline);
  }
}

asio::awaitable<bool> HttpSession::serve_one() {
  idle_since_ = Clock::now();
  const auto idle_deadline = *idle_since_ + context_.options.idle_timeout;
  while (input_.empty()) {
    if (peer_gone_ || closed_ || context_.draining) {
      co_return false;
    }
    if (co_await wait(idle_deadline) == Wake::kTimeout) {
      co_return false;
    }
  }
  idle_since_.reset();
  if (context_.link != nullptr) {
    context_.link->begin_reply(place_);
  }
  RequestReader reader(context_.options.limits);
  if (!co_await receive(reader)) {
    co_await send_refusal(reader.request());
    co_return false;
  }
  const bool keep_alive = reader.keep_alive();
  const bool chunks = !reader.is_http_1_0();
  const bool goes_on = co_await answer(std::move(reader.request()), keep_alive, chunks);
  account_body(0);
  co_return goes_on;
}

// Reads one request; false when it was refused, timed out or the client went (the reply is already
// sent).
asio::awaitable<bool> HttpSession::receive(RequestReader& reader) {
  const HttpServerOptions& options = context_.options;
  const auto start = Clock::now();
  bool has_header = false;
  for (;;) {
    const RequestReader::Step step = reader.feed(input_);
    const bool is_full = input_.size() >= options.limits.max_header_bytes + kReadChunk;
    input_.erase(0, step.consumed);
    space_.cancel();
    if (step.progress == RequestReader::Progress::kDone) {
      co_return true;
    }
    if (step.progress == RequestReader::Progress::kFailed) {
      co_return refuse(reader.error_status(), reader.error_message());
    }
    if (step.progress == RequestReader::Progress::kHeaderDone) {
      has_header = true;
      if (!co_await begin_body(reader)) {
        co_return false;
      }
      continue;
    }
    if (step.consumed == 0 && is_full) {
      co_return refuse(400, "A chunk header or trailer of the request's body is too long.");
    }
    account_body(reader.body_bytes());
    if (context_.body_bytes > options.max_total_body_bytes) {
      co_return refuse(503, "The server is receiving too much at once. Try again in a moment.");
    }
    const auto allowed = has_header
                             ? options.header_timeout + options.body_timeout +
                                   std::chrono::seconds(reader.body_bytes() / kBodyBytesPerSecond)
                             : options.header_timeout;
    if (peer_gone_ || closed_) {
      co_return false;
    }
    if (step.consumed == 0 && co_await wait(start + allowed) == Wake::kTimeout) {
      co_return refuse(408, "The request did not arrive in time.");
    }
    if (Clock::now() > start + allowed) {
      co_return refuse(408, "The request did not arrive in time.");
    }
  }
}

// The headers are there: may this request come in at all?
asio::awaitable<bool> HttpSession::begin_body(RequestReader& reader) {
  Request& request = reader.request();
  request.id = fmt::format("req_{:016x}{:08x}", context_.id_prefix, context_.next_request++);
  request.peer = peer_;
  request.arrived = Clock::now();
  if (!is_origin_acceptable(context_.options.cors, request)) {
    co_return refuse(
        403,
        "This server does not take requests from that web page's origin. Start it with the origin "
        "in its CORS option to allow it.");
  }
  if (request.method != "OPTIONS" && context_.options.admit) {
    if (auto refusal = context_.options.admit(request)) {
      refusal_ = std::move(*refusal);
      co_return false;
    }
  }
  const std::string_view coding = request.header("Content-Encoding");
  if (!coding.empty() && !names_equal(coding, "identity")) {
    co_return refuse(415, "Compressed bodies (Content-Encoding) are not supported: send it plain.");
  }
  const std::string_view expectation = request.header("Expect");
  if (reader.expects_continue()) {
    co_return co_await write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (!expectation.empty() && !reader.is_http_1_0()) {
    co_return refuse(417, "The only expectation known here is 100-continue.");
  }
  co_return true;
}

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
  exchange_ = nullptr;
  --context_.active_requests;
  co_return goes_on;
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
    std::string text;
    if (output.head) {
      is_streaming = true;
      keep_alive = keep_alive && chunks && !context_.draining;
      text = head_text(*output.head, request_head, keep_alive,
                       chunks ? "Transfer-Encoding: chunked\r\n" : "");
    }
    const bool sends_body = request_head.method != "HEAD";
    if (sends_body && !output.bytes.empty()) {
      if (chunks) {
        fmt::format_to(std::back_inserter(text), "{:x}\r\n{}\r\n", output.bytes.size(),
                       output.bytes);
      } else {
        text += output.bytes;
      }
    }
    if (is_streaming && output.finished && chunks && sends_body) {
      text += "0\r\n\r\n";
    }
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
  leave_link();
  if (context_.link != nullptr && !peer_gone_ && !closed_) {
    context_.link->end_reply(place_);
  }
  if (goes_on || (!peer_gone_ && !closed_)) {
    exchange.close();
  } else {
    exchange.disconnect();
  }
  co_return goes_on;
}

}  // namespace edgewise::net
