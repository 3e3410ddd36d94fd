// Which handler answers a method and path. Filled before the server starts, then read-only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/exchange.h"
#include "net/http_message.h"

namespace edgewise::net {

// The producing end of one reply; copies share it. Any thread. When the last copy goes without a
// reply, the client gets a 500 (or, within a stream, a cut connection), so no request can be
// forgotten.
class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange);

  bool send(Response response) const { return handle_->exchange->send(std::move(response)); }

  bool begin(Response head) const { return handle_->exchange->begin(std::move(head)); }

  bool write(std::string_view bytes) const { return handle_->exchange->write(bytes); }

  bool is_paced() const { return handle_->exchange->is_paced(); }

  void set_terms(LinkTerms terms) const { handle_->exchange->set_terms(std::move(terms)); }

  // Must not own a Responder of the same request.
  void set_source(std::function<std::string()> source) const {
    handle_->exchange->set_source(std::move(source));
  }

  bool offer(std::size_t bytes) const { return handle_->exchange->offer(bytes); }

  void end() const { handle_->exchange->end(); }

  void abort() const { handle_->exchange->abort(); }

  // The callbacks must not own a Responder of the same request (they would keep it alive for ever).
  void on_disconnect(std::function<void()> callback) const {
    handle_->exchange->on_disconnect(std::move(callback));
  }

  void call_at(Exchange::Clock::time_point when, std::function<void()> callback) const {
    handle_->exchange->call_at(when, std::move(callback));
  }

  void on_sent(std::function<void(Exchange::Clock::duration waited)> callback) const {
    handle_->exchange->on_sent(std::move(callback));
  }

  bool is_open() const { return handle_->exchange->is_open(); }

 private:
  struct Handle {
    explicit Handle(std::shared_ptr<Exchange> e) : exchange(std::move(e)) {}

    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    ~Handle() { exchange->abandon(); }

    std::shared_ptr<Exchange> exchange;
  };

  std::shared_ptr<Handle> handle_;
};

using Handler = std::function<void(Request, Responder)>;

class Router {
 public:
  // `path` ends in '*': any non-empty rest, given to the handler as Request::tail.
  void add(std::string method, std::string path, Handler handler);
  // A handler of microseconds. It runs on the I/O thread: is answered while all handlers are busy.
  void add_quick(std::string method, std::string path, Handler handler);

  struct Match {
    const Handler* handler = nullptr;
    bool is_quick = false;
    std::string tail;
    std::string
        allow;  // the methods that the path knows, "GET, HEAD, OPTIONS"; empty: no such path
    std::string route;  // the path it was added with, for metrics; empty: no such path
  };

  // HEAD is answered by GET's handler.
  Match find(std::string_view method, std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::string path;
    Handler handler;
    bool is_quick = false;
  };

  std::vector<Route> routes_;
};

}  // namespace edgewise::net
