#include "net/request_reader.h"

#include <fmt/format.h>

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <optional>

namespace edgewise::net {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

// Beast's string_body reserves the announced length; this one grows with what arrives.
struct GrowingBody {
  using value_type = std::string;

  class reader {
   public:
    template <bool IsRequest, class Fields>
    reader(http::header<IsRequest, Fields>& /*header*/, value_type& body) : body_(body) {}

    void init(const boost::optional<std::uint64_t>& /*announced_length*/, error_code& ec) {
      ec = {};
    }

    template <class Buffers>
    std::size_t put(const Buffers& buffers, error_code& ec) {
      ec = {};
      const std::size_t before = body_.size();
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer buffer = *it;
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
      }
      return body_.size() - before;
    }

    void finish(error_code& ec) { ec = {}; }

   private:
    value_type& body_;
  };
};

// The path of "http://host/path", which is what clients behind a proxy setting send.
std::string_view without_authority(std::string_view target) {
  const std::size_t scheme_end = target.find("://");
  if (target.starts_with('/') || scheme_end == std::string_view::npos) {
    return target;
  }
  const std::size_t path = target.find_first_of("/?", scheme_end + 3);
  return path == std::string_view::npos ? "/" : target.substr(path);
}

}  // namespace

struct RequestReader::State {
  explicit State(RequestLimits wanted) : limits(wanted) {
    parser.header_limit(static_cast<std::uint32_t>(limits.max_header_bytes));
    parser.body_limit(limits.max_body_bytes);
    parser.eager(false);
  }

  Step fail(int status, std::string message) {
    error_status = status;
    error_message = std::move(message);
    return {Progress::kFailed, 0};
  }

  Step fail(error_code ec) {
    if (ec == http::error::header_limit) {
      return fail(431, fmt::format("The request's headers are larger than {} bytes.",
                                   limits.max_header_bytes));
    }
    if (ec == http::error::body_limit) {
      return fail(413, fmt::format("The request's body is larger than this server's limit of {} "
                                   "bytes. Send less, or start the "
                                   "server with a higher limit.",
                                   limits.max_body_bytes));
    }
    if (ec == http::error::bad_version) {
      return fail(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
    }
    return fail(400, fmt::format("This is not a valid HTTP request: {}.", ec.message()));
  }

  Step finish_header(std::size_t consumed);
  void copy_header();

  RequestLimits limits;
  http::request_parser<GrowingBody> parser;
  std::size_t header_bytes = 0;  // so far; Beast limits what it has not taken yet, not the sum
  bool header_reported = false;
  Request request;
  int error_status = 0;
  std::string error_message;
};

RequestReader::Step RequestReader::State::finish_header(std::size_t consumed) {
  header_reported = true;
  copy_header();
  const auto& fields = parser.get();
  if (fields.version() >= 11 && fields.count(http::field::host) != 1) {
    return fail(400, "An HTTP/1.1 request needs exactly one Host header.");
  }
  // Where a body of another coding ends is anyone's guess; guessing differently than a proxy does
  // lets requests be smuggled past it (RFC 9112, 6.1 and 6.3).
  if (fields.count(http::field::transfer_encoding) > 0) {
    if (fields.version() < 11) {
      return fail(400, "HTTP/1.0 requests have no Transfer-Encoding.");
    }
    if (!names_equal(request.header("Transfer-Encoding"), "chunked")) {
      return fail(501, "The only Transfer-Encoding known here is chunked.");
    }
  }
  return {Progress::kHeaderDone, consumed};
}

void RequestReader::State::copy_header() {
  const auto& message = parser.get();
  const std::string_view target =
      without_authority({message.target().data(), message.target().size()});
  request.method = std::string(message.method_string());
  const std::size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  request.query =
      question == std::string_view::npos ? "" : std::string(target.substr(question + 1));
  for (const auto& field : message) {
    const auto name = field.name_string();
    const auto value = field.value();
    request.headers.push_back({std::string(name), std::string(value)});
  }
}

RequestReader::RequestReader(RequestLimits limits) : state_(std::make_unique<State>(limits)) {}

RequestReader::~RequestReader() = default;

RequestReader::Step RequestReader::feed(std::string_view input) {
  Step step;
  State& s = *state_;
  while (!s.parser.is_done()) {
    if (s.parser.is_header_done() && !s.header_reported) {
      return s.finish_header(step.consumed);
    }
    if (step.consumed == input.size()) {
      return step;
    }
    error_code ec;
    const std::string_view rest = input.substr(step.consumed);
    const std::size_t used = s.parser.put(boost::asio::buffer(rest.data(), rest.size()), ec);
    step.consumed += used;
    if (ec && ec != http::error::need_more) {
      return s.fail(ec);
    }
    if (!s.header_reported) {
      s.header_bytes += used;
      if (s.header_bytes > s.limits.max_header_bytes) {
        return s.fail(http::error::header_limit);
      }
    }
    if (ec == http::error::need_more && used == 0) {
      return step;
    }
  }
  if (!s.header_reported) {  // no body: the header and the end come together
    return s.finish_header(step.consumed);
  }
  s.request.body = std::move(s.parser.get().body());
  step.progress = Progress::kDone;
  return step;
}

Request& RequestReader::request() {
  return state_->request;
}

bool RequestReader::keep_alive() const {
  return state_->parser.get().keep_alive();
}

bool RequestReader::is_http_1_0() const {
  return state_->parser.get().version() < 11;
}

bool RequestReader::expects_continue() const {
  return names_equal(state_->request.header("Expect"), "100-continue") && !is_http_1_0();
}

std::size_t RequestReader::body_bytes() const {
  return state_->parser.is_header_done() ? state_->parser.get().body().size() : 0;
}

int RequestReader::error_status() const {
  return state_->error_status;
}

const std::string& RequestReader::error_message() const {
  return state_->error_message;
}

}  // namespace edgewise::net
