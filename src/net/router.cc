#include "net/router.h"

#include <optional>
#include <utility>

namespace edgewise::net {
namespace {

// The part of `path` that '*' stands for ("" for an exact match), or nothing when they do not
// match.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
  if (pattern.ends_with('*')) {
    pattern.remove_suffix(1);
    if (path.starts_with(pattern) && path.size() > pattern.size()) {
      return path.substr(pattern.size());
    }
    return std::nullopt;
  }
  return path == pattern ? std::optional<std::string_view>("") : std::nullopt;
}

}  // namespace

Responder::Responder(std::shared_ptr<Exchange> exchange)
    : handle_(std::make_shared<Handle>(std::move(exchange))) {}

void Router::add(std::string method, std::string path, Handler handler) {
  routes_.push_back({std::move(method), std::move(path), std::move(handler), false});
}

void Router::add_quick(std::string method, std::string path, Handler handler) {
  routes_.push_back({std::move(method), std::move(path), std::move(handler), true});
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match result;
  for (const Route& route : routes_) {
    const auto tail = match(route.path, path);
    if (!tail) {
      continue;
    }
    result.route = route.path;
    result.allow += route.method + (route.method == "GET" ? ", HEAD, " : ", ");
    if (!result.handler &&
        (route.method == method || (method == "HEAD" && route.method == "GET"))) {
      result.handler = &route.handler;
      result.is_quick = route.is_quick;
      result.tail = percent_decode(*tail);
    }
  }
  if (!result.allow.empty()) {
    result.allow += "OPTIONS";
  }
  return result;
}

}  // namespace edgewise::net
