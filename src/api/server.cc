#include "api/server.h"

#include <fmt/format.h>

#include "api/auth.h"
#include "api/metrics.h"
#include "api/routes.h"

namespace edgewise::api {
namespace {

bool is_public(std::string_view path) {
  return path == "/health" || path == "/ready";
}

ApiError wrong_key(bool is_missing) {
  return {.status = 401,
          .message = is_missing
                         ? "This server needs an API key: send \"Authorization: Bearer KEY\"."
                         : "The API key is wrong.",
          .code = "invalid_api_key"};
}

std::vector<std::string> ids_of(const ServedModels& models) {
  std::vector<std::string> ids;
  for (const auto& model : models.all()) {
    ids.push_back(model->card().id);
  }
  return ids;
}

}  // namespace

struct Server::State {
  State(std::unique_ptr<const ServedModels> served, ServerOptions options)
      : models(std::move(served)),
        keys(std::move(options.api_keys)),
        limits(keys),
        link(std::move(options.link)),
        exporter(std::move(options.trace_exporter)),
        placement(std::move(options.placement)),
        metrics(std::make_shared<Metrics>(ids_of(*models))) {}

  using Handle = void (*)(const RouteContext&, const net::Request&, Reply);

  net::Handler handler(const char* path, Handle handle) {
    return [this, path, handle](const net::Request& request, net::Responder responder) {
      const bool is_gone = !responder.is_open();
      const auto trace = std::make_shared<RequestTrace>(exporter, path, request);
      if (responder.is_paced()) {
        responder.on_sent([trace](auto waited) { trace->set_sent(waited); });
      }
      Reply reply(std::move(responder), metrics, trace, path, request.arrived);
      is_gone ? reply.count_gone() : handle(context, request, std::move(reply));
    };
  }

  void add(net::Router& router, const char* method, const char* path, Handle handle) {
    router.add(method, path, handler(path, handle));
  }

  // Whoever watches over the process, or gives it requests, must not take a busy one for a dead one.
  void add_probe(net::Router& router, const char* path, Handle handle) {
    router.add_quick("GET", path, handler(path, handle));
  }

  net::Router routes();
  void set_callbacks(net::HttpServerOptions& options);

  std::unique_ptr<const ServedModels> models;
  ApiKeys keys;
  KeyLimits limits;
  std::shared_ptr<admission::Link> link;
  std::shared_ptr<trace::Exporter> exporter;
  std::shared_ptr<Placement> placement;
  std::shared_ptr<Metrics> metrics;
  std::string host;
  std::unique_ptr<net::HttpServer> http;
  RouteContext context{
      .models = *models,
      .metrics = metrics,
      .keys = keys,
      .limits = limits,
      .sizes = nullptr,
      .placement = placement,
      .post = [this](std::function<void()> work) { http->post(std::move(work)); },
      .server_stats = [this] { return http->stats(); },
      .trace_counts = [this] { return exporter ? exporter->counts() : trace::ExportCounts(); },
      .is_draining = [this] { return http->is_draining(); }};
};

net::Router Server::State::routes() {
  net::Router router;
  add(router, "POST", "/v1/chat/completions", handle_chat);
  add(router, "POST", "/v1/completions", handle_completion);
  add(router, "POST", "/v1/embeddings", handle_embedding);
  add(router, "GET", "/v1/models", handle_model_list);
  add(router, "GET", "/v1/models/*", handle_model);
  add_probe(router, "/health", handle_health);
  add_probe(router, "/ready", handle_ready);
  add_probe(router, "/edgewise/load", handle_load);
  add(router, "GET", "/metrics", handle_metrics);
  return router;
}

void Server::State::set_callbacks(net::HttpServerOptions& options) {
  options.error_body = [](int status, const std::string& message) {
    return error_json(status_error(status, message));
  };
  options.admit = [this](const net::Request& request) -> std::optional<net::Response> {
    const std::string_view given = request.header("Authorization");
    if (is_public(request.path) || keys.find(given)) {
      return std::nullopt;
    }
    return error_response(wrong_key(given.empty()));
  };
  if (link != nullptr) {
    options.on_link_need = [this](double bytes_per_s) { link->set_waiting_need(bytes_per_s); };
  }
  options.on_reply = [this](const std::string& route, int status) {
    metrics->count_request(route, status, 0);
  };
}

Server::Server() = default;

Result<std::unique_ptr<Server>> Server::create(std::vector<std::shared_ptr<Backend>> models,
                                               ServerOptions options) {
  auto served = TRY(ServedModels::create(std::move(models)));
  auto server = std::unique_ptr<Server>(new Server());
  net::HttpServerOptions http = options.http;
  server->state_ = std::make_unique<State>(std::move(served), std::move(options));
  State& state = *server->state_;
  state.host = http.host;
  if (http.downlink_bytes_per_s > 0.0) {
    state.context.sizes = std::make_shared<ReplySizes>();
  }
  state.set_callbacks(http);
  state.http = TRY(net::HttpServer::listen(std::move(http), state.routes()));
  state.http->serve();
  return server;
}

Server::~Server() {
  if (state_ && state_->http) {
    stop();
  }
}

std::uint16_t Server::port() const {
  return state_->http->port();
}

std::string Server::url() const {
  const bool is_v6 = state_->host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", state_->http->is_tls() ? "https" : "http",
                     is_v6 ? "[" + state_->host + "]" : state_->host, port());
}

bool Server::drain(std::chrono::milliseconds limit) {
  return state_->http->drain(limit);
}

void Server::stop() {
  if (state_->placement != nullptr) {
    state_->placement->stop();
  }
  state_->http->stop();
}

}  // namespace edgewise::api
