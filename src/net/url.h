// The parts of an http:// or https:// address (RFC 3986, without user information).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::net {

struct Url {
  bool is_https = false;
  std::string host;    // an IPv6 address without its brackets
  std::string port;    // "443" when not given
  std::string target;  // path and query, begins with '/'

  std::string text() const;
  std::string host_header() const;  // with the port unless it is the scheme's own
};

Result<Url> parse_url(std::string_view text);

// Where a Location header leads from `base`: an absolute address, "//host/path", "/path" or a
// relative path.
Result<Url> resolve_location(const Url& base, std::string_view location);

}  // namespace edgewise::net
