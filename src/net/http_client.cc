#include "net/http_client.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <charconv>
#include <optional>
#include <utility>

#include "net/byte_stream.h"
#include "net/url.h"

namespace edgewise::net {
namespace {

namespace http = boost::beast::http;
using asio::ip::tcp;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

// A body that goes to a callback piece by piece.
struct SinkBody {
  struct value_type {
    std::function<Result<void>(std::string_view)> on_bytes;
    std::optional<Error> error;
  };

  class reader {
   public:
    template <bool IsRequest, class Fields>
    reader(http::header<IsRequest, Fields>& /*header*/, value_type& body) : body_(body) {}

    void init(const boost::optional<std::uint64_t>& /*announced*/, ErrorCodeAsio& ec) { ec = {}; }

    template <class Buffers>
    std::size_t put(const Buffers& buffers, ErrorCodeAsio& ec) {
      ec = {};
      std::size_t taken = 0;
      for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers);
           ++it) {
        const asio::const_buffer buffer = *it;
        if (body_.on_bytes) {
          auto result = body_.on_bytes({static_cast<const char*>(buffer.data()), buffer.size()});
          if (!result) {
            body_.error = std::move(result).error();
            ec = asio::error::operation_aborted;
            return taken;
          }
        }
        taken += buffer.size();
      }
      return taken;
    }

    void finish(ErrorCodeAsio& ec) { ec = {}; }

   private:
    value_type& body_;
  };
};

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc() && end == text.data() + text.size() && value >= 0 ? std::optional(value)
                                                                             : std::nullopt;
}

// "bytes 100-199/200" → 100 (RFC 9110, 14.4)
std::optional<std::int64_t> range_start(std::string_view content_range) {
  if (!content_range.starts_with("bytes ")) {
    return std::nullopt;
  }
  content_range.remove_prefix(6);
  return parse_number(content_range.substr(0, content_range.find('-')));
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// One request to one address.
class Fetch {
 public:
  Fetch(const Url& url, const FetchOptions& options, const FetchSink& sink)
      : url_(url), options_(options), sink_(sink) {}

  Result<FetchHead> run() {
    asio::co_spawn(io_, perform(), [](const std::exception_ptr&) {});
    const std::stop_callback on_stop(options_.stop, [this] { io_.stop(); });
    options_.total_timeout.count() > 0 ? io_.run_for(options_.total_timeout) : io_.run();
    if (has_ended_) {
      return std::move(result_);
    }
    if (options_.stop.stop_requested()) {
      return fail(ErrorCode::kCancelled, "{}: stopped", url_.text());
    }
    return fail(ErrorCode::kUnavailable, "{}: not done within {} ms", url_.text(),
                options_.total_timeout.count());
  }

 private:
  tl::unexpected<Error> lost(std::string_view what, const ErrorCodeAsio& ec) const {
    return fail(ErrorCode::kUnavailable, "{}: {} ({})", url_.text(), what,
                timed_out_ ? "timed out" : ec.message());
  }

  asio::awaitable<void> perform() {
    result_ = co_await connect();
    if (result_) {
      if (sink_.on_connected) {
        sink_.on_connected();
      }
      result_ = co_await exchange();
    }
    has_ended_ = true;
    timer_.cancel();
    if (stream_) {
      stream_->close();
    }
  }

  // Whatever is pending when the time is over ends with an error.
  void limit(std::chrono::milliseconds time) {
    timer_.expires_after(time);
    timer_.async_wait([this](const ErrorCodeAsio& ec) {
      if (!ec && timer_.expiry() <= std::chrono::steady_clock::now()) {
        timed_out_ = true;
        resolver_.cancel();
        ErrorCodeAsio ignored;
        socket_.close(ignored);
        if (stream_) {
          stream_->close();
        }
      }
    });
  }

  asio::awaitable<Result<FetchHead>> connect() {
    limit(options_.connect_timeout);
    const auto [resolve_error, found] =
        co_await resolver_.async_resolve(url_.host, url_.port, kAwait);
    if (resolve_error) {
      co_return lost("cannot find the host", resolve_error);
    }
    const auto [connect_error, endpoint] = co_await asio::async_connect(socket_, found, kAwait);
    if (connect_error) {
      co_return lost("cannot connect", connect_error);
    }
    if (!url_.is_https) {
      stream_ = make_plain_stream(std::move(socket_));
      co_return FetchHead{};
    }
    auto context = TlsContext::for_client(options_.verify_certificates, options_.authorities_file);
    if (!context) {
      co_return tl::unexpected(std::move(context).error());
    }
    tls_.emplace(std::move(*context));
    auto stream =
        make_tls_client_stream(std::move(socket_), *tls_, url_.host, options_.verify_certificates);
    if (!stream) {
      co_return tl::unexpected(std::move(stream).error());
    }
    stream_ = std::move(*stream);
    const ErrorCodeAsio ec = co_await stream_->handshake();
    if (ec) {
      co_return lost("no secure connection", ec);
    }
    co_return FetchHead{};
  }

  std::string request_text() const {
    std::string text = fmt::format(
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: */*\r\nAccept-Encoding: "
        "identity\r\n"
        "User-Agent: edgewise\r\n",
        options_.upload ? "POST" : "GET", url_.target, url_.host_header());
    if (options_.first_byte > 0) {
      fmt::format_to(std::back_inserter(text), "Range: bytes={}-\r\n", options_.first_byte);
    }
    for (const Header& header : options_.headers) {
      fmt::format_to(std::back_inserter(text), "{}: {}\r\n", header.name, header.value);
    }
    if (options_.upload) {
      fmt::format_to(std::back_inserter(text), "Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
                     options_.upload->content_type, options_.upload->body.size());
      return text + options_.upload->body;
    }
    return text + "\r\n";
  }

  asio::awaitable<Result<FetchHead>> exchange() {
    const std::string request = request_text();
    std::string_view unsent = request;
    while (!unsent.empty()) {
      limit(options_.stall_timeout);
      const auto [ec, count] = co_await stream_->write_some(unsent);
      if (ec) {
        co_return lost("sending the request failed", ec);
      }
      unsent.remove_prefix(count);
    }
    parser_.header_limit(static_cast<std::uint32_t>(options_.max_header_bytes));
    parser_.body_limit(boost::none);
    std::array<char, 64 * 1024> chunk;
    while (!parser_.is_done()) {
      limit(options_.stall_timeout);
      const auto [ec, count] = co_await stream_->read_some(chunk);
      if (ec) {
        co_return finish_at_end(ec);
      }
      input_.append(chunk.data(), count);
      auto taken = take_input();
      if (!taken) {
        co_return tl::unexpected(std::move(taken).error());
      }
      if (leads_elsewhere()) {
        break;
      }
    }
    co_return head_;
  }

  bool leads_elsewhere() const { return is_redirect(head_.status) && !options_.upload; }

  // The connection ended: right for a body without a length, else too early.
  Result<FetchHead> finish_at_end(const ErrorCodeAsio& reason) {
    ErrorCodeAsio ec;
    if (!timed_out_ && parser_.is_header_done()) {
      parser_.put_eof(ec);
      if (!ec) {
        return head_;
      }
    }
    return lost("the connection was lost before the end of the answer", reason);
  }

  Result<void> take_input() {
    while (!input_.empty() && !parser_.is_done()) {
      ErrorCodeAsio ec;
      const std::size_t used = parser_.put(asio::buffer(input_), ec);
      input_.erase(0, used);
      if (parser_.get().body().error) {
        return tl::unexpected(*parser_.get().body().error);
      }
      if (ec && ec != http::error::need_more) {
        return fail(ErrorCode::kCorrupt, "{}: not a valid HTTP answer: {}", url_.text(),
                    ec.message());
      }
      if (parser_.is_header_done() && head_.status == 0) {
        TRY_VOID(take_head());
      }
      if (leads_elsewhere() || used == 0) {
        break;
      }
    }
    return {};
  }

  Result<void> take_head() {
    const auto& message = parser_.get();
    head_.status = static_cast<int>(message.result_int());
    head_.url = url_.text();
    for (const auto& field : message) {
      head_.headers.push_back({std::string(field.name_string()), std::string(field.value())});
    }
    if (const auto length = parser_.content_length()) {
      head_.body_bytes = static_cast<std::int64_t>(*length);
    }
    if (head_.status == 206) {
      const auto first = range_start(find_header(head_.headers, "Content-Range"));
      if (!first) {
        return fail(ErrorCode::kCorrupt, "{}: a partial answer without a valid Content-Range",
                    url_.text());
      }
      head_.first_byte = *first;
    }
    if (leads_elsewhere()) {
      return {};
    }
    if (sink_.on_head) {
      TRY_VOID(sink_.on_head(head_));
    }
    parser_.get().body().on_bytes = sink_.on_bytes;
    return {};
  }

  const Url& url_;
  const FetchOptions& options_;
  const FetchSink& sink_;
  asio::io_context io_{1};
  tcp::resolver resolver_{io_};
  tcp::socket socket_{io_};
  asio::steady_timer timer_{io_};
  std::optional<TlsContext> tls_;
  std::unique_ptr<ByteStream> stream_;
  http::response_parser<SinkBody> parser_;
  std::string input_;
  FetchHead head_;
  bool timed_out_ = false;
  bool has_ended_ = false;
  Result<FetchHead> result_ = fail(ErrorCode::kInternal, "the fetch did not run");
};

// Out of descriptors, nothing can be asked.
Result<FetchHead> fetch_once(const Url& url, const FetchOptions& options, const FetchSink& sink) {
  try {
    return Fetch(url, options, sink).run();
  } catch (const boost::system::system_error& error) {
    return fail(ErrorCode::kUnavailable, "{}: {}", url.text(), error.what());
  }
}

}  // namespace

Result<FetchHead> fetch(const std::string& url,
                        const FetchOptions& options,
                        const FetchSink& sink) {
  Url here = TRY(parse_url(url));
  FetchOptions current = options;
  for (int redirects = 0;; ++redirects) {
    FetchHead head = TRY(fetch_once(here, current, sink));
    if (!is_redirect(head.status) || options.upload) {
      return head;
    }
    if (redirects >= options.max_redirects) {
      return fail(ErrorCode::kUnavailable, "{}: more than {} redirects", url,
                  options.max_redirects);
    }
    const std::string_view location = find_header(head.headers, "Location");
    if (location.empty()) {
      return fail(ErrorCode::kCorrupt, "{}: a redirect without a Location", here.text());
    }
    Url next = TRY(resolve_location(here, location));
    if (here.is_https && !next.is_https) {
      return fail(ErrorCode::kPermissionDenied, "{}: refusing the redirect from https to {}",
                  here.text(), next.text());
    }
    if (next.host != here.host || next.port != here.port) {
      std::erase_if(current.headers,
                    [](const Header& h) { return names_equal(h.name, "Authorization"); });
    }
    here = std::move(next);
  }
}

Result<FetchedText> fetch_text(const std::string& url,
                               const FetchOptions& options,
                               std::size_t max_bytes) {
  std::string body;
  FetchSink sink;
  sink.on_bytes = [&](std::string_view bytes) -> Result<void> {
    if (body.size() + bytes.size() > max_bytes) {
      return fail(ErrorCode::kResourceExhausted, "{}: the answer is larger than {} bytes", url,
                  max_bytes);
    }
    body += bytes;
    return {};
  };
  FetchHead head = TRY(fetch(url, options, sink));
  return FetchedText{std::move(head), std::move(body)};
}

}  // namespace edgewise::net
