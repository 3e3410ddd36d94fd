// Fetches over HTTP and HTTPS: redirects, ranges, verified certificates, bodies as a stream. For
// downloads, so one request per connection. Blocks the calling thread; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http_message.h"

namespace edgewise::net {

struct FetchOptions {
  std::vector<Header> headers;  // Authorization is not passed on to another host when redirected
  std::int64_t first_byte =
      0;  // > 0: asks for the rest from here ("Range"); look at FetchHead::first_byte
  int max_redirects = 10;  // a redirect from https to http is refused
  bool verify_certificates = true;
  std::string authorities_file;  // PEM; empty: the system's
  std::size_t max_header_bytes = 64 * 1024;
  std::chrono::milliseconds connect_timeout{30'000};  // resolving, connecting, TLS
  std::chrono::milliseconds stall_timeout{60'000};    // without a byte from the server
};

struct FetchHead {
  int status = 0;
  std::vector<Header> headers;
  std::string url;               // after redirects
  std::int64_t body_bytes = -1;  // of this reply; -1: not announced
  std::int64_t first_byte =
      0;  // where the body starts in the whole: 0 when the server ignored the range
};

struct FetchSink {
  // Not for redirects. Returning an error ends the fetch with it.
  std::function<Result<void>(const FetchHead&)> on_head;
  std::function<Result<void>(std::string_view bytes)> on_bytes;
};

// GET. Any final status is a success; a body that ends before its announced length is an error
// (kUnavailable), as are timeouts and lost connections, so that the caller can go on from where it
// stopped.
Result<FetchHead> fetch(const std::string& url, const FetchOptions& options, const FetchSink& sink);

// The whole body, at most `max_bytes`.
struct FetchedText {
  FetchHead head;
  std::string body;
};

Result<FetchedText> fetch_text(const std::string& url,
                               const FetchOptions& options,
                               std::size_t max_bytes);

}  // namespace edgewise::net
