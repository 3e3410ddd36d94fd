// Cross-origin rules (Fetch standard, "CORS protocol"): which web pages may use this server.
//
// Pages of other origins get nothing unless listed. A changing request that carries a foreign
// Origin is refused: a browser sends it even where it would later hide the answer, and the work
// would already be done.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/http_message.h"

namespace edgewise::net {

struct CorsOptions {
  std::vector<std::string> origins;  // "https://app.example"; "*" allows all; empty: none
};

// Headers that the reply to this request needs; none without an Origin or for one that is not
// allowed.
std::vector<Header> cors_headers(const CorsOptions& options, const Request& request);

// Headers of the reply to a preflight (OPTIONS with Access-Control-Request-Method).
std::vector<Header> preflight_headers(const CorsOptions& options,
                                      const Request& request,
                                      std::string_view allow);

// False for a foreign, unlisted Origin on anything but GET, HEAD and OPTIONS. The server's own is
// one that equals Host and is an address or "localhost"; a page on the server's name must be listed.
bool is_origin_acceptable(const CorsOptions& options, const Request& request);

}  // namespace edgewise::net
