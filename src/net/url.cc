#include "net/url.h"

#include <algorithm>
#include <cstdint>

namespace edgewise::net {
namespace {

// Control characters, spaces and bytes above ASCII could smuggle a second header line into the
// request.
bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

// From 1 to 65535, in at most 5 digits.
bool is_port(std::string_view text) {
  std::uint32_t port = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') {
      return false;
    }
    port = 10 * port + static_cast<std::uint32_t>(c - '0');
    if (port > 65535) {
      return false;
    }
  }
  return text.size() <= 5 && port >= 1;
}

}  // namespace

std::string Url::host_header() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (is_https ? "443" : "80") ? name : name + ":" + port;
}

std::string Url::text() const {
  return (is_https ? "https://" : "http://") + host_header() + target;
}

Result<Url> parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.is_https = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return fail(ErrorCode::kInvalidArgument, "\"{}\" is not an http:// or https:// address", text);
  }
  if (!is_printable(rest)) {
    return fail(ErrorCode::kInvalidArgument,
                "the address \"{}\" has characters that must be percent-encoded", text);
  }
  rest = rest.substr(0, rest.find('#'));
  const std::size_t path = rest.find_first_of("/?");
  std::string_view authority = rest.substr(0, path);
  url.target = path == std::string_view::npos ? "/" : std::string(rest.substr(path));
  if (url.target.front() == '?') {
    url.target.insert(0, "/");
  }
  if (authority.find('@') != std::string_view::npos) {
    return fail(ErrorCode::kInvalidArgument, "user names in addresses are not supported");
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos ||
        (end + 1 < authority.size() && authority[end + 1] != ':')) {
      return fail(ErrorCode::kInvalidArgument, "the address \"{}\" has a broken IPv6 host", text);
    }
    url.host = std::string(authority.substr(1, end - 1));
    port = authority.substr(std::min(end + 2, authority.size()));
  } else {
    const std::size_t colon = authority.find(':');
    url.host = std::string(authority.substr(0, colon));
    port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon + 1);
  }
  url.port = port.empty() ? (url.is_https ? "443" : "80") : std::string(port);
  if (url.host.empty() || !is_port(url.port)) {
    return fail(ErrorCode::kInvalidArgument, "the address \"{}\" has no usable host and port",
                text);
  }
  return url;
}

Result<Url> resolve_location(const Url& base, std::string_view location) {
  if (location.starts_with("http://") || location.starts_with("https://")) {
    return parse_url(location);
  }
  const std::string origin = (base.is_https ? "https://" : "http://") + base.host_header();
  if (location.starts_with("//")) {
    return parse_url((base.is_https ? "https:" : "http:") + std::string(location));
  }
  if (location.starts_with('/')) {
    return parse_url(origin + std::string(location));
  }
  const std::string path = base.target.substr(0, base.target.find('?'));
  return parse_url(origin + path.substr(0, path.rfind('/') + 1) + std::string(location));
}

}  // namespace edgewise::net
