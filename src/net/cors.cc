#include "net/cors.h"

#include <arpa/inet.h>

#include <algorithm>

namespace edgewise::net {
namespace {

bool allows(const CorsOptions& options, std::string_view origin) {
  return std::ranges::any_of(options.origins, [&](const std::string& allowed) {
    return allowed == "*" || names_equal(allowed, origin);
  });
}

// "192.168.0.7:8080", "[::1]" or "localhost:8080". A name that somebody else's DNS server answers for
// proves nothing: it may first name their server and then this one (DNS rebinding).
bool names_this_server_only(std::string_view host) {
  const std::size_t end = host.starts_with('[') ? host.find(']') + 1 : host.find(':');
  const std::string name(host.substr(0, end));
  in6_addr address{};
  if (name.starts_with('[')) {
    return ::inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), &address) == 1;
  }
  return names_equal(name, "localhost") || ::inet_pton(AF_INET, name.c_str(), &address) == 1;
}

bool allows_all(const CorsOptions& options) {
  return std::ranges::find(options.origins, "*") != options.origins.end();
}

}  // namespace

std::vector<Header> cors_headers(const CorsOptions& options, const Request& request) {
  const std::string_view origin = request.header("Origin");
  if (origin.empty() || !allows(options, origin)) {
    return {};
  }
  std::vector<Header> headers = {
      {"Access-Control-Allow-Origin", allows_all(options) ? "*" : std::string(origin)},
      {"Access-Control-Expose-Headers", "x-request-id, retry-after, x-should-retry"}};
  if (!allows_all(options)) {
    headers.push_back({"Vary", "Origin"});
  }
  return headers;
}

std::vector<Header> preflight_headers(const CorsOptions& options,
                                      const Request& request,
                                      std::string_view allow) {
  std::vector<Header> headers = cors_headers(options, request);
  if (headers.empty()) {
    return headers;
  }
  headers.push_back({"Access-Control-Allow-Methods", std::string(allow)});
  const std::string_view wanted = request.header("Access-Control-Request-Headers");
  headers.push_back({"Access-Control-Allow-Headers",
                     wanted.empty() ? "Authorization, Content-Type" : std::string(wanted)});
  headers.push_back({"Access-Control-Max-Age", "86400"});
  return headers;
}

bool is_origin_acceptable(const CorsOptions& options, const Request& request) {
  const std::string_view origin = request.header("Origin");
  if (origin.empty() || request.method == "GET" || request.method == "HEAD" ||
      request.method == "OPTIONS") {
    return true;
  }
  const std::size_t scheme_end = origin.find("://");
  const std::string_view host = request.header("Host");
  const bool is_own = scheme_end != std::string_view::npos &&
                      names_equal(origin.substr(scheme_end + 3), host) &&
                      names_this_server_only(host);
  return is_own || allows(options, origin);
}

}  // namespace edgewise::net
