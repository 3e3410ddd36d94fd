#include "net/cors.h"

#include <algorithm>

namespace edgewise::net {
namespace {

bool allows(const CorsOptions& options, std::string_view origin) {
  return std::ranges::any_of(options.origins, [&](const std::string& allowed) {
    return allowed == "*" || names_equal(allowed, origin);
  });
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
      {"Access-Control-Expose-Headers", "x-request-id, retry-after"}};
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
  const bool is_own = scheme_end != std::string_view::npos &&
                      names_equal(origin.substr(scheme_end + 3), request.header("Host"));
  return is_own || allows(options, origin);
}

}  // namespace edgewise::net
