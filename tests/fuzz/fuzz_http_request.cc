// Any bytes on a connection, in any pieces: the reader takes requests or fails with a status; what
// it keeps never exceeds its limits, and how the bytes were cut never changes what it reads.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "net/http_message.h"
#include "net/request_reader.h"

using edgewise::net::Request;
using edgewise::net::RequestLimits;
using edgewise::net::RequestReader;

namespace {

constexpr RequestLimits kLimits{.max_header_bytes = 4096, .max_body_bytes = 16384};

// The first request of `bytes`, fed in pieces of `piece`, as one text.
std::string read(std::string_view bytes, std::size_t piece) {
  RequestReader reader(kLimits);
  std::size_t arrived = 0;
  std::size_t used = 0;
  while (true) {
    const RequestReader::Step step = reader.feed(bytes.substr(used, arrived - used));
    CHECK(used + step.consumed <= arrived);
    used += step.consumed;
    CHECK(reader.body_bytes() <= kLimits.max_body_bytes);
    if (step.progress == RequestReader::Progress::kFailed) {
      CHECK(reader.error_status() >= 400 && reader.error_status() < 600);
      CHECK(!reader.error_message().empty());
      return "failed " + std::to_string(reader.error_status());
    }
    if (step.progress == RequestReader::Progress::kDone) {
      const Request& request = reader.request();
      (void)edgewise::net::percent_decode(request.path);
      return request.method + " " + request.path + "?" + request.query + " " +
             std::to_string(request.headers.size()) + " " + request.body;
    }
    if (step.progress == RequestReader::Progress::kNeedMore) {
      if (arrived == bytes.size()) {
        return "unfinished";
      }
      arrived = std::min(bytes.size(), arrived + piece);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string whole = read(bytes, std::max<std::size_t>(size, 1));
  const std::string in_pieces = read(bytes, 1 + size % 7);
  // Faults of a head that is not complete are found sooner or later depending on the pieces; a
  // request is a request.
  const auto is_request = [](const std::string& text) {
    return text != "unfinished" && !text.starts_with("failed");
  };
  CHECK((!is_request(whole) && !is_request(in_pieces)) || whole == in_pieces);
  return 0;
}
