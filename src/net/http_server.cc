#include "net/http_server.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <random>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "net/http_session.h"
#include "net/link_gate.h"

namespace edgewise::net {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr int kMaxRefusing =
    64;  // connections over the limit that are told so; the rest is dropped silently

std::string peer_name(const tcp::socket& socket) {
  ErrorCodeAsio ec;
  const tcp::endpoint peer = socket.remote_endpoint(ec);
  if (ec) {
    return "?";
  }
  const auto address = peer.address();
  return address.is_v6() ? fmt::format("[{}]:{}", address.to_string(), peer.port())
                         : fmt::format("{}:{}", address.to_string(), peer.port());
}

// How many of the wanted connections the process may have descriptors for; raises its own limit as
// far as the system lets it.
int affordable_connections(int wanted) {
  constexpr rlim_t kOthers = kMaxRefusing + 64;
  const rlim_t needed = static_cast<rlim_t>(wanted) + kOthers;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= needed) {
    return wanted;
  }
  const rlimit raised{.rlim_cur = std::min(needed, files.rlim_max), .rlim_max = files.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
    files = raised;
  }
  if (files.rlim_cur >= needed) {
    return wanted;
  }
  const rlim_t left =
      std::max(files.rlim_cur / 2, files.rlim_cur - std::min(files.rlim_cur, kOthers));
  log(LogLevel::kWarning,
      "at most {} connections at once: the process may open {} files (ulimit -n)", left,
      files.rlim_cur);
  return std::max(1, static_cast<int>(left));
}

}  // namespace

struct HttpServer::State {
  State(HttpServerOptions o, Router r)
      : options(std::move(o)), router(std::move(r)), handlers(options.handler_threads) {}

  Result<void> bind();
  void run();
  asio::awaitable<void> accept_all();
  asio::awaitable<void> serve(tcp::socket socket, bool refused);
  bool close_longest_idle();  // false: none is idle
  std::unique_ptr<ByteStream> make_stream(tcp::socket socket);
  void begin_drain();  // I/O thread
  void close_all();    // I/O thread

  HttpServerOptions options;
  Router router;
  std::optional<TlsContext> tls;
  asio::thread_pool handlers;
  SessionContext context{.options = options, .router = router, .handlers = handlers};
  std::list<std::weak_ptr<HttpSession>> sessions;  // I/O thread
  bool closing = false;                            // I/O thread
  int refusing = 0;                                // I/O thread
  std::atomic<int> connections = 0;
  std::atomic<std::int64_t> refused_total = 0;
  std::atomic<bool> draining = false;
  bool stopped = false;
  std::uint16_t port = 0;
  Mutex mutex;
  Condition idle;                  // connections went to 0; changed with the mutex held
  asio::io_context io{1};          // destroyed before what its coroutines refer to
  std::unique_ptr<LinkGate> link;  // where the link is limited
  tcp::acceptor acceptor{io};
  asio::steady_timer retry{io};
  std::thread thread;
};

Result<void> HttpServer::State::bind() {
  ErrorCodeAsio ec;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service, ec);
  if (ec || found.empty()) {
    return fail(ErrorCode::kInvalidArgument, "cannot listen on \"{}\": {}", options.host,
                ec.message());
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  const auto failed = [&](const char* what) {
    if (ec == asio::error::address_in_use) {
      return fail(ErrorCode::kUnavailable,
                  "cannot {} {} port {}: another program has it; choose another port", what,
                  options.host, options.port);
    }
    if (ec == std::errc::address_not_available) {
      return fail(ErrorCode::kInvalidArgument,
                  "cannot {} {} port {}: this machine has no such address; `ip address` shows what "
                  "it has",
                  what, options.host, options.port);
    }
    return fail(ec == asio::error::access_denied ? ErrorCode::kPermissionDenied : ErrorCode::kIo,
                "cannot {} {} port {}: {}", what, options.host, options.port, ec.message());
  };
  if (acceptor.open(endpoint.protocol(), ec)) {
    return failed("open a socket for");
  }
  acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (acceptor.bind(endpoint, ec)) {
    return failed("listen on");
  }
  if (acceptor.listen(tcp::socket::max_listen_connections, ec)) {
    return failed("listen on");
  }
  port = acceptor.local_endpoint(ec).port();
  return {};
}

std::unique_ptr<ByteStream> HttpServer::State::make_stream(tcp::socket socket) {
  return tls ? make_tls_server_stream(std::move(socket), *tls)
             : make_plain_stream(std::move(socket));
}

asio::awaitable<void> HttpServer::State::serve(tcp::socket socket, bool refused) {
  ErrorCodeAsio ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  std::string peer = peer_name(socket);
  const auto session =
      std::make_shared<HttpSession>(context, make_stream(std::move(socket)), std::move(peer));
  const auto place = sessions.insert(sessions.end(), session);
  if (closing) {
    session->close();
  }
  if (refused) {
    co_await session->run_refused();
    --refusing;
  } else {
    co_await session->run();
    const MutexLock lock(mutex);
    --connections;
    idle.notify_all();
  }
  sessions.erase(place);
}

bool HttpServer::State::close_longest_idle() {
  std::shared_ptr<HttpSession> longest;
  for (const auto& weak : sessions) {
    auto session = weak.lock();
    if (session && session->idle_since() &&
        (!longest || *session->idle_since() < *longest->idle_since())) {
      longest = std::move(session);
    }
  }
  if (longest) {
    longest->close();
  }
  return longest != nullptr;
}

asio::awaitable<void> HttpServer::State::accept_all() {
  while (acceptor.is_open()) {
    auto [ec, socket] = co_await acceptor.async_accept(kAwait);
    if (ec == asio::error::operation_aborted || !acceptor.is_open()) {
      co_return;
    }
    if (ec) {  // out of descriptors, or the client was quicker to leave
      log(LogLevel::kWarning, "accepting a connection failed: {}", ec.message());
      retry.expires_after(100ms);
      co_await retry.async_wait(kAwait);
      continue;
    }
    const bool refused = connections >= options.max_connections && !close_longest_idle();
    if (refused) {
      ++refused_total;
      if (refusing >= kMaxRefusing) {
        continue;
      }
      ++refusing;
    } else {
      ++connections;
    }
    asio::co_spawn(io, serve(std::move(socket), refused), asio::detached);
  }
}

void HttpServer::State::begin_drain() {
  context.draining = true;
  ErrorCodeAsio ignored;
  acceptor.close(ignored);
  for (const auto& weak : sessions) {
    if (const auto session = weak.lock()) {
      session->wake();
    }
  }
}

void HttpServer::State::close_all() {
  closing = true;
  if (link) {
    link->stop();
  }
  for (const auto& weak : sessions) {
    if (const auto session = weak.lock()) {
      session->close();
    }
  }
}

void HttpServer::State::run() {
  io.run();
}

HttpServer::HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::listen(HttpServerOptions options, Router router) {
  if (options.tls_certificate_file.empty() != options.tls_key_file.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "TLS needs both a certificate file and a key file; only one was given");
  }
  if (options.host.empty()) {  // a resolver takes it for every address of the machine
    return fail(ErrorCode::kInvalidArgument,
                "the address to listen on is empty; 127.0.0.1 is this machine only, 0.0.0.0 all "
                "its networks");
  }
  options.max_total_body_bytes =
      std::max(options.max_total_body_bytes, options.limits.max_body_bytes);
  options.max_connections = affordable_connections(options.max_connections);
  auto server = std::unique_ptr<HttpServer>(new HttpServer());
  server->state_ = std::make_unique<State>(std::move(options), std::move(router));
  State& state = *server->state_;
  if (!state.options.tls_certificate_file.empty()) {
    state.tls =
        TRY(TlsContext::for_server(state.options.tls_certificate_file, state.options.tls_key_file));
  }
  TRY_VOID(state.bind());
  if (state.options.downlink_bytes_per_s > 0.0) {
    state.link = std::make_unique<LinkGate>(state.io, state.options.downlink_bytes_per_s,
                                            state.tls.has_value(), state.options.on_link_need);
    state.context.link = state.link.get();
  }
  std::random_device random;
  state.context.id_prefix = (std::uint64_t{random()} << 32) | random();
  return server;
}

void HttpServer::serve() {
  asio::co_spawn(state_->io, state_->accept_all(), asio::detached);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options, Router router) {
  auto server = TRY(listen(std::move(options), std::move(router)));
  server->serve();
  return server;
}

HttpServer::~HttpServer() {
  if (state_) {
    stop();
  }
}

std::uint16_t HttpServer::port() const {
  return state_->port;
}

bool HttpServer::is_tls() const {
  return state_->tls.has_value();
}

bool HttpServer::is_draining() const {
  return state_->draining;
}

HttpServerStats HttpServer::stats() const {
  return {.connections = state_->connections,
          .active_requests = state_->context.active_requests,
          .refused_connections_total = state_->refused_total,
          .link = state_->link ? state_->link->stats() : LinkStats()};
}

bool HttpServer::drain(std::chrono::milliseconds limit) {
  state_->draining = true;
  asio::post(state_->io, [state = state_.get()] { state->begin_drain(); });
  const auto latest = std::chrono::steady_clock::now() + limit;
  MutexLock lock(state_->mutex);
  bool is_early = true;
  while (state_->connections != 0 && is_early) {
    is_early = state_->idle.wait_until(lock, latest);
  }
  return state_->connections == 0;
}

void HttpServer::stop() {
  if (std::exchange(state_->stopped, true)) {
    return;
  }
  state_->draining = true;
  asio::post(state_->io, [state = state_.get()] {
    state->begin_drain();
    state->close_all();
  });
  {
    // Connections that are cut end within a few turns of the I/O thread, and each tells its reply's
    // producer on the way: nobody may hold on to what is destroyed after this.
    MutexLock lock(state_->mutex);
    while (state_->connections != 0) {
      state_->idle.wait(lock);
    }
  }
  state_->handlers.join();
  state_->io.stop();
  if (state_->thread.joinable()) {
    state_->thread.join();
  }
  state_->context.link = nullptr;  // sessions that are left go after it
}

void HttpServer::post(std::function<void()> work) {
  asio::post(state_->handlers, std::move(work));
}

}  // namespace edgewise::net
