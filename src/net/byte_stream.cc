#include "net/byte_stream.h"

#include <openssl/ssl.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace edgewise::net {
namespace {

namespace ssl = asio::ssl;
using asio::ip::tcp;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
using Transferred = std::pair<ErrorCodeAsio, std::size_t>;

template <typename Stream>
asio::awaitable<Transferred> read_from(Stream& stream, std::span<char> into) {
  const auto [ec, count] =
      co_await stream.async_read_some(asio::buffer(into.data(), into.size()), kAwait);
  co_return Transferred(ec, count);
}

template <typename Stream>
asio::awaitable<Transferred> write_to(Stream& stream, std::string_view bytes) {
  const auto [ec, count] =
      co_await stream.async_write_some(asio::buffer(bytes.data(), bytes.size()), kAwait);
  co_return Transferred(ec, count);
}

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<ErrorCodeAsio> handshake() override { co_return ErrorCodeAsio{}; }

  asio::awaitable<Transferred> read_some(std::span<char> into) override {
    return read_from(socket_, into);
  }

  asio::awaitable<Transferred> write_some(std::string_view bytes) override {
    return write_to(socket_, bytes);
  }

  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
};

class TlsStream final : public ByteStream {
 public:
  TlsStream(tcp::socket socket, ssl::context& context, ssl::stream_base::handshake_type side)
      : stream_(std::move(socket), context), side_(side) {}

  asio::awaitable<ErrorCodeAsio> handshake() override {
    const auto [ec] = co_await stream_.async_handshake(side_, kAwait);
    co_return ec;
  }

  asio::awaitable<Transferred> read_some(std::span<char> into) override {
    return read_from(stream_, into);
  }

  asio::awaitable<Transferred> write_some(std::string_view bytes) override {
    return write_to(stream_, bytes);
  }

  tcp::socket& socket() override { return stream_.next_layer(); }

  ssl::stream<tcp::socket>& stream() { return stream_; }

 private:
  ssl::stream<tcp::socket> stream_;
  ssl::stream_base::handshake_type side_;
};

}  // namespace

void ByteStream::close() {
  ErrorCodeAsio ignored;
  socket().close(ignored);
}

void ByteStream::shutdown_send() {
  ErrorCodeAsio ignored;
  socket().shutdown(tcp::socket::shutdown_send, ignored);
}

TlsContext::TlsContext(std::unique_ptr<ssl::context> context) : context_(std::move(context)) {}

TlsContext::~TlsContext() = default;
TlsContext::TlsContext(TlsContext&&) noexcept = default;
TlsContext& TlsContext::operator=(TlsContext&&) noexcept = default;

Result<TlsContext> TlsContext::for_server(const std::string& certificate_file,
                                          const std::string& key_file) {
  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  ErrorCodeAsio ec;
  context->use_certificate_chain_file(certificate_file, ec);
  if (ec) {
    return fail(ErrorCode::kInvalidArgument, "cannot use the TLS certificate {}: {}",
                certificate_file, ec.message());
  }
  context->use_private_key_file(key_file, ssl::context::pem, ec);
  if (ec) {
    return fail(ErrorCode::kInvalidArgument, "cannot use the TLS private key {}: {}", key_file,
                ec.message());
  }
  return TlsContext(std::move(context));
}

Result<TlsContext> TlsContext::for_client(bool verify, const std::string& authorities_file) {
  auto context = std::make_unique<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  ErrorCodeAsio ec;
  context->set_verify_mode(verify ? ssl::verify_peer : ssl::verify_none, ec);
  if (authorities_file.empty()) {
    context->set_default_verify_paths(ec);
  } else {
    context->load_verify_file(authorities_file, ec);
  }
  if (ec && verify) {
    return fail(ErrorCode::kIo, "cannot load certificate authorities {}: {}", authorities_file,
                ec.message());
  }
  return TlsContext(std::move(context));
}

std::unique_ptr<ByteStream> make_plain_stream(tcp::socket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

std::unique_ptr<ByteStream> make_tls_server_stream(tcp::socket socket, TlsContext& context) {
  return std::make_unique<TlsStream>(std::move(socket), context.native(), ssl::stream_base::server);
}

Result<std::unique_ptr<ByteStream>> make_tls_client_stream(tcp::socket socket,
                                                           TlsContext& context,
                                                           const std::string& host,
                                                           bool verify) {
  auto stream =
      std::make_unique<TlsStream>(std::move(socket), context.native(), ssl::stream_base::client);
  if (SSL_set_tlsext_host_name(stream->stream().native_handle(), host.c_str()) != 1) {
    return fail(ErrorCode::kInvalidArgument, "\"{}\" cannot be the name of a TLS server", host);
  }
  if (verify) {
    ErrorCodeAsio ec;
    stream->stream().set_verify_callback(ssl::host_name_verification(host), ec);
    if (ec) {
      return fail(ErrorCode::kInternal, "cannot set up certificate verification: {}", ec.message());
    }
  }
  return std::unique_ptr<ByteStream>(std::move(stream));
}

}  // namespace edgewise::net
