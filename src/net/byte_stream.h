// One connected byte stream, plain TCP or TLS, behind one small interface, so that the protocol
// code is compiled once. Internal to net/ (it shows Asio). I/O thread only; one read and one write
// may run at the same time.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace boost::asio::ssl {
class context;
}

namespace edgewise::net {

namespace asio = boost::asio;
using ErrorCodeAsio = boost::system::error_code;

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual asio::awaitable<ErrorCodeAsio> handshake() = 0;
  virtual asio::awaitable<std::pair<ErrorCodeAsio, std::size_t>> read_some(
      std::span<char> into) = 0;
  virtual asio::awaitable<std::pair<ErrorCodeAsio, std::size_t>> write_some(
      std::string_view bytes) = 0;
  virtual asio::ip::tcp::socket& socket() = 0;

  void close();          // ends pending operations with an error
  void shutdown_send();  // FIN; reading goes on
};

// Shared by all connections of a server or client. Opaque, so that OpenSSL stays in one .cc.
class TlsContext {
 public:
  // A PEM certificate chain and its private key.
  static Result<TlsContext> for_server(const std::string& certificate_file,
                                       const std::string& key_file);
  // Verifies servers against the system's certificate authorities, or those of `authorities_file`.
  static Result<TlsContext> for_client(bool verify, const std::string& authorities_file);
  ~TlsContext();
  TlsContext(TlsContext&&) noexcept;
  TlsContext& operator=(TlsContext&&) noexcept;

  asio::ssl::context& native() { return *context_; }

 private:
  explicit TlsContext(std::unique_ptr<asio::ssl::context> context);
  std::unique_ptr<asio::ssl::context> context_;
};

std::unique_ptr<ByteStream> make_plain_stream(asio::ip::tcp::socket socket);
std::unique_ptr<ByteStream> make_tls_server_stream(asio::ip::tcp::socket socket,
                                                   TlsContext& context);
// `host` is what the certificate must name.
Result<std::unique_ptr<ByteStream>> make_tls_client_stream(asio::ip::tcp::socket socket,
                                                           TlsContext& context,
                                                           const std::string& host,
                                                           bool verify);

}  // namespace edgewise::net
