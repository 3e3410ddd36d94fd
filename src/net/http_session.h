// One client connection from accept to close. Internal to net/ (it shows Asio). I/O thread only.
//
// Two coroutines share a connection: read_all() keeps reading for as long as it lives (that is how
// a vanished client is noticed while its reply is still being made), run() parses what came and
// sends replies.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "net/byte_stream.h"
#include "net/exchange.h"
#include "net/http_server.h"
#include "net/link_gate.h"

namespace edgewise::net {

struct SessionContext {  // of the whole server
  const HttpServerOptions& options;
  const Router& router;
  asio::thread_pool& handlers;
  LinkGate* link = nullptr;  // null: nothing is paced
  bool draining = false;
  std::size_t body_bytes = 0;  // held by all requests
  std::uint64_t id_prefix = 0;
  std::uint64_t next_request = 0;
  std::atomic<int> active_requests = 0;
};

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(SessionContext& context, std::unique_ptr<ByteStream> stream, std::string peer);
  ~HttpSession();

  asio::awaitable<void> run();
  // Accepts, says 503 and goes.
  asio::awaitable<void> run_refused();
  void close();
  void wake();  // the server started draining, or the exchange has something
  // Since when it has waited for a request's headers, which cost who sends them slowly nothing, or for
  // the next bytes of its body; nothing when it does not.
  std::optional<std::chrono::steady_clock::time_point> idle_since() const;

 private:
  using Clock = std::chrono::steady_clock;
  enum class Wake { kEvent, kTimeout };
  static constexpr std::size_t kWritePiece = 64 * 1024;  // the write timeout starts again with each

  asio::awaitable<bool> handshake();
  asio::awaitable<void> read_all();
  asio::awaitable<bool> serve_one();  // false: the connection is to be closed
  asio::awaitable<bool> receive(RequestReader& reader);
  asio::awaitable<bool> begin_body(RequestReader& reader);
  asio::awaitable<void> linger();
  asio::awaitable<Wake> wait(Clock::time_point deadline);
  asio::awaitable<bool> write(std::string_view bytes);
  asio::awaitable<bool> take_turn(std::size_t bytes);
  asio::awaitable<bool> wait_for_turn(std::size_t bytes);
  void leave_link();
  void look_at_exchange();
  void account_body(std::size_t bytes);
  void close_after(std::chrono::milliseconds timeout);
  void do_not_close();

  // http_session_reply.cc
  asio::awaitable<bool> answer(Request request, bool keep_alive, bool chunks);
  asio::awaitable<bool> send_outputs(Exchange& exchange,
                                     const Request& request_head,
                                     bool keep_alive,
                                     bool chunks);
  std::string frame(const Exchange::Output& output,
                    const Request& request_head,
                    bool keep_alive,
                    bool chunks) const;
  void leave(Exchange& exchange, bool goes_on);
  asio::awaitable<bool> reply_now(Response response, const Request& request, bool keep_alive);
  bool refuse(int status, const std::string& message);
  asio::awaitable<void> send_refusal(const Request& request);
  asio::awaitable<bool> answer_options(const Request& request,
                                       const std::string& allow,
                                       bool keep_alive);
  std::string head_text(const Response& response,
                        const Request& request,
                        bool keep_alive,
                        std::string_view framing) const;

  SessionContext& context_;
  std::unique_ptr<ByteStream> stream_;
  const std::string peer_;
  asio::steady_timer event_;  // run() waits here
  asio::steady_timer space_;  // read_all() waits here for room in input_
  asio::steady_timer guard_;  // cuts the connection when a write or handshake makes no progress
  bool pending_event_ = false;
  std::optional<Clock::time_point> idle_since_;
  std::uint64_t guard_generation_ = 0;
  std::string input_;
  bool peer_gone_ = false;
  bool discarding_ = false;
  bool closed_ = false;
  std::size_t accounted_body_ = 0;
  std::optional<Response> refusal_;  // instead of serving what is being received
  std::shared_ptr<Exchange> exchange_;
  LinkPlace place_;
};

}  // namespace edgewise::net
