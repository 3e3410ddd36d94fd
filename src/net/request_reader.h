// Bytes in, one HTTP/1.x request out; no sockets. Limits are enforced before anything is stored,
// and the body's memory grows with the bytes that came, not with the length that was announced. The
// parser is Beast's.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "net/http_message.h"

namespace edgewise::net {

struct RequestLimits {
  std::size_t max_header_bytes = 32 * 1024;
  std::size_t max_body_bytes = 16 * 1024 * 1024;
};

class RequestReader {
 public:
  explicit RequestReader(RequestLimits limits);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  enum class Progress { kNeedMore, kHeaderDone, kDone, kFailed };

  struct Step {
    Progress progress = Progress::kNeedMore;
    std::size_t consumed = 0;  // bytes of the input that are used up
  };

  // Feeds what has arrived and is not consumed yet. kHeaderDone is reported once, before the body
  // is looked at.
  Step feed(std::string_view input);

  // From kHeaderDone on: all but the body. From kDone on: everything.
  Request& request();
  bool keep_alive() const;  // the client's wish
  bool is_http_1_0() const;
  bool expects_continue() const;
  std::size_t body_bytes() const;  // so far

  // After kFailed.
  int error_status() const;
  const std::string& error_message() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::net
