// Another server's reply on its way to a client: event by event where it is a stream, else whole. Until the client has
// been told anything, the request can still be answered elsewhere. One thread.
//
// What it took is charged to the request's key once, when it has ended, however that was, and before the client can
// send its next request: as well as a reply tells it.
#pragma once

#include <string>
#include <string_view>

#include "api/placement.h"
#include "net/http_client.h"

namespace edgewise::nodes {

class Relay {
 public:
  // `request` must outlive this.
  explicit Relay(api::PlacedRequest& request) : request_(request) {}

  net::FetchSink sink();  // must not outlive this

  bool has_told() const { return request_.reply.has_events(); }

  // The reply has come whole. The request was checked here: what the other server finds wrong with it or with itself is
  // not told, but for a deadline that cannot be, or was not, kept.
  bool is_for_client() const;
  std::string why_not() const;  // for the log
  // One of these ends the reply.
  void finish();  // is_for_client()
  void fail(const api::ApiError& error);
  void abandon();  // the client is gone

 private:
  Result<void> take(std::string_view bytes);
  Result<void> tell_events(std::size_t searched);
  std::string error_code() const;
  std::int64_t whole_tokens() const;
  void charge(std::int64_t tokens);
  void charge_begun();

  api::PlacedRequest& request_;
  net::FetchHead head_;
  bool is_stream_ = false;
  std::string text_;  // of a stream: the beginning of an event
  std::int64_t events_ = 0;
};

}  // namespace edgewise::nodes
