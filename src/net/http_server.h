// An HTTP/1.1 server: connections, limits, timeouts, TLS, CORS and draining; knows nothing of what
// is served.
//
// Threads: one I/O thread owns all sockets; handlers run on a small pool of their own, so they may
// take milliseconds (not seconds) and may answer later, from any thread, through their Responder. A
// client that goes away while its reply is produced is noticed at once (the connection is always
// being read); a half-closed connection counts as gone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "net/cors.h"
#include "net/http_message.h"
#include "net/link_stats.h"
#include "net/request_reader.h"
#include "net/router.h"

namespace edgewise::net {

struct HttpServerOptions {
  std::string host = "127.0.0.1";    // an address or a name; "::" and "0.0.0.0" listen everywhere
  std::uint16_t port = 0;            // 0: any free port
  std::string tls_certificate_file;  // both or neither: PEM
  std::string tls_key_file;
  RequestLimits limits;
  // More get a 503, unless one waits for a request: the one whose headers, or the next bytes of whose
  // body, have been awaited the longest makes room. Fewer where the process may not open so many files.
  int max_connections = 1024;
  std::size_t max_total_body_bytes =
      256 * 1024 * 1024;  // of all requests being received or answered; more: 503
  std::size_t max_queued_bytes =
      4 * 1024 * 1024;  // of one stream, written but not yet taken by the client
  int handler_threads = 2;
  std::chrono::milliseconds header_timeout{
      15'000};  // first to last byte of a request's head; TLS handshake
  std::chrono::milliseconds body_timeout{
      60'000};  // for the body, and 1 s more for each 16 KiB of it
  std::chrono::milliseconds idle_timeout{75'000};   // between requests of one connection
  std::chrono::milliseconds write_timeout{30'000};  // without the client taking a single byte
  CorsOptions cors;
  // What may be sent to all clients together, headers of the levels below included; 0: no limit. See link_pacer.h.
  double downlink_bytes_per_s = 0.0;
  // Told what replies that wait and have a deadline need of it, in bytes a second (I/O thread, must be quick).
  std::function<void(double bytes_per_s)> on_link_need;
  // The body of replies that the server itself makes (400, 404, 405, 408, 413, 431, 500, 503, ...),
  // as JSON.
  std::function<std::string(int status, const std::string& message)> error_body;
  // Looked at when a request's headers are there and before its body is read (I/O thread, must be
  // quick): a reply refuses it.
  std::function<std::optional<Response>(const Request&)> admit;
  // Told about each reply that is not the business of a handler: status sent without a handler.
  std::function<void(const std::string& route, int status)> on_reply;
};

struct HttpServerStats {
  int connections = 0;
  int active_requests = 0;
  std::int64_t refused_connections_total = 0;
  LinkStats link;
};

class HttpServer {
 public:
  // Takes the port; clients are answered once serve() is called.
  static Result<std::unique_ptr<HttpServer>> listen(HttpServerOptions options, Router router);
  void serve();
  // Both.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, Router router);
  ~HttpServer();  // stop()

  std::uint16_t port() const;
  bool is_tls() const;
  HttpServerStats stats() const;  // any thread

  // Stops accepting, closes idle connections and waits until running requests are answered, but no
  // longer than `limit`. Returns whether all were.
  bool drain(std::chrono::milliseconds limit);
  bool is_draining() const;
  // Cuts what is still connected and joins the threads. Idempotent.
  void stop();

  // Runs `work` on the handler threads. Dropped once stopped.
  void post(std::function<void()> work);

 private:
  HttpServer();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::net
