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
constexpr std::size_t kBodyBytesPerSecond = 16 * 1024;  // slower bodies time out
constexpr auto kLinger = 3s;

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

// Unless do_not_close() comes first. The generation tells a wait that ended just before it was cancelled.
void HttpSession::close_after(std::chrono::milliseconds timeout) {
  guard_.expires_after(timeout);
  guard_.async_wait(
      [self = shared_from_this(), generation = ++guard_generation_](ErrorCodeAsio ec) {
        if (!ec && generation == self->guard_generation_) {
          self->close();
        }
      });
}

void HttpSession::do_not_close() {
  ++guard_generation_;
  guard_.cancel();
}

asio::awaitable<bool> HttpSession::handshake() {
  close_after(context_.options.header_timeout);
  const ErrorCodeAsio ec = co_await stream_->handshake();
  do_not_close();
  co_return !ec;
}

// Waits for this connection's turn on the link, for `bytes` and what its exchange has. False: there is nobody to send to
// any more.
asio::awaitable<bool> HttpSession::take_turn(std::size_t bytes) {
  const std::shared_ptr<Exchange> exchange = exchange_;
  if (exchange) {
    exchange->begin_wait();
  }
  const bool has_turn = co_await wait_for_turn(bytes);
  if (exchange) {
    exchange->end_wait();
  }
  co_return has_turn;
}

asio::awaitable<bool> HttpSession::wait_for_turn(std::size_t bytes) {
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
    close_after(context_.options.write_timeout);
    const auto [ec, count] = co_await stream_->write_some(bytes.substr(0, most));
    do_not_close();
    if (place_.has_turn()) {
      link->sent(place_, count, ec ? 0 : bytes.size() - count);
    }
    if (ec) {
      close();
      break;
    }
    bytes.remove_prefix(count);
  }
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
  idle_since_ = Clock::now();
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
  idle_since_ = Clock::now();
  if (context_.link != nullptr) {
    context_.link->begin_reply(place_);
  }
  RequestReader reader(context_.options.limits);
  const bool is_whole = co_await receive(reader);
  idle_since_.reset();
  if (!is_whole) {
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
      idle_since_ = Clock::now();
      if (!co_await begin_body(reader)) {
        co_return false;
      }
      continue;
    }
    if (step.consumed == 0 && is_full) {
      co_return refuse(400, "A chunk header or trailer of the request's body is too long.");
    }
    if (has_header && step.consumed > 0) {
      idle_since_ = Clock::now();
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

}  // namespace edgewise::net
