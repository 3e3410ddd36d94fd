// What travels over HTTP, as plain values: requests as handlers see them and replies as they give
// them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace edgewise::net {

struct Header {
  std::string name;
  std::string value;
};

bool names_equal(std::string_view a,
                 std::string_view b);  // header names: ASCII case does not matter

// The first header of that name; empty when there is none.
std::string_view find_header(const std::vector<Header>& headers, std::string_view name);

struct Request {
  std::string id;      // ours, sent back as x-request-id
  std::string method;  // as sent: "GET", "POST", ...
  std::string path;    // without the query, not percent-decoded
  std::string query;   // what follows '?', not decoded
  std::string tail;    // percent-decoded rest of the path behind a route that ends in '*'
  std::vector<Header> headers;
  std::string body;
  std::string peer;                               // "127.0.0.1:51234"
  std::chrono::steady_clock::time_point arrived;  // its headers

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<Header> headers = {};
  std::string body = {};
};

std::string_view reason_phrase(int status);

// "%2F" becomes '/'; a broken escape stays as it is.
std::string percent_decode(std::string_view text);

}  // namespace edgewise::net
