// Fetches over HTTP and HTTPS: redirects, ranges, verified certificates, bodies as a stream. For
// downloads and small uploads, so one request per connection. Blocks the calling thread; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http_message.h"

namespace edgewise::net {

struct Upload {
  std::string content_type;
  std::string body;
};

struct FetchOptions {
  std::optional<Upload> upload;  // POST this instead of GET; redirects are then answers like others
  std::vector<Header> headers;   // Authorization is not passed on to another host when redirected
  std::int64_t first_byte =
      0;  // > 0: asks for the rest from here ("Range"); look at FetchHead::first_byte
  int max_redirects = 10;  // a redirect from https to http is refused
  bool verify_certificates = true;
  std::string authorities_file;  // PEM; empty: the system's
  std::size_t max_header_bytes = 64 * 1024;
  std::chrono::milliseconds connect_timeout{30'000};  // resolving, connecting, TLS
  std::chrono::milliseconds stall_timeout{60'000};    // without a byte from the server
  std::chrono::milliseconds total_timeout{0};         // of each request as a whole; 0: none
  std::stop_token
      stop;  // ends the fetch with kCancelled (a name that is being looked up ends first)
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
  std::function<void()> on_connected = {};  // nothing was sent before
};

// Any final status is a success; a body that ends before its announced length is an error
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
