// The OpenAI-compatible server: routes over some models, listening until stopped. Behind `edgewise
// serve`.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "api/auth.h"
#include "api/backend.h"
#include "api/placement.h"
#include "base/result.h"
#include "net/http_server.h"
#include "trace/exporter.h"

namespace edgewise::api {

struct ServerOptions {
  net::HttpServerOptions http;  // host, port, TLS, limits, CORS; its callbacks are the server's own
  std::vector<ApiKey> api_keys;  // none: no key is asked for
  // The one that the models' engines admit by, told what waits to be sent; may be null.
  std::shared_ptr<admission::Link> link;
  std::shared_ptr<Placement>
      placement;  // over other servers with the same models; null: there are none
  std::shared_ptr<trace::Exporter> trace_exporter;  // takes each request's spans; null: none
};

class Server {
 public:
  // Listens from here on. At least one model (generator_backend.h), each with a name of its own.
  static Result<std::unique_ptr<Server>> create(std::vector<std::shared_ptr<Backend>> models,
                                                ServerOptions options);
  ~Server();  // stop()

  std::uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8080"

  // From now on /ready says no; takes no new connections, waits for running answers, at most
  // `limit`. Returns whether all were finished.
  bool drain(std::chrono::milliseconds limit);
  void stop();  // cuts what is left (their work is cancelled) and joins the threads

 private:
  Server();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::api
