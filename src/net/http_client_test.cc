#include "net/http_client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <thread>

#include "net/http_server.h"
#include "net/url.h"

namespace edgewise::net {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const std::string& large_body() {
  static const std::string kBody = [] {
    std::string text;
    for (int i = 0; i < 200'000; ++i) {
      text += fmt::format("{:07}\n", i);
    }
    return text;
  }();
  return kBody;
}

Router files() {
  Router router;
  router.add("GET", "/file", [](const Request& q, const Responder& r) {
    const std::string_view range = q.header("Range");
    if (range.empty()) {
      r.send({.content_type = "application/octet-stream", .body = large_body()});
      return;
    }
    const std::size_t first = std::stoul(std::string(range.substr(6)));
    r.send(
        {.status = 206,
         .headers = {{"Content-Range", fmt::format("bytes {}-{}/{}", first, large_body().size() - 1,
                                                   large_body().size())}},
         .body = large_body().substr(first)});
  });
  router.add("GET", "/chunks", [](const Request&, const Responder& r) {
    r.begin({});
    for (int i = 0; i < 100; ++i) {
      r.write(fmt::format("{},", i));
    }
    r.end();
  });
  router.add("GET", "/cut", [](const Request&, const Responder& r) {
    r.begin({});
    r.write("half of");
  });
  router.add("GET", "/silent", [](const Request&, const Responder& r) {
    r.call_at(std::chrono::steady_clock::now() + 3s, [] {});
    std::this_thread::sleep_for(500ms);
  });
  router.add("GET", "/a/moved", [](const Request&, const Responder& r) {
    r.send({.status = 302, .headers = {{"Location", "again"}}});
  });
  router.add("GET", "/a/again", [](const Request&, const Responder& r) {
    r.send({.status = 301, .headers = {{"Location", "/file"}}});
  });
  router.add("POST", "/echo", [](const Request& q, const Responder& r) {
    r.send({.status = 307,
            .content_type = std::string(q.header("Content-Type")),
            .headers = {{"Location", "/file"}},
            .body = q.body});
  });
  router.add("GET", "/drip", [](const Request&, const Responder& r) {
    r.begin({});
    for (int i = 0; i < 500 && r.write("."); ++i) {
      std::this_thread::sleep_for(10ms);
    }
    r.end();
  });
  router.add("GET", "/loop", [](const Request&, const Responder& r) {
    r.send({.status = 307, .headers = {{"Location", "/loop"}}});
  });
  return router;
}

class HttpClientTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    auto server = HttpServer::start(std::move(options), files());
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  std::string url(std::string_view path) const {
    return fmt::format("{}://localhost:{}{}", server_->is_tls() ? "https" : "http", server_->port(),
                       path);
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpClientTest, FetchesBodiesWithLengthAndInChunks) {
  start();
  const auto file = fetch_text(url("/file"), {}, 1 << 24);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->head.status, 200);
  EXPECT_EQ(file->head.body_bytes, std::ssize(large_body()));
  EXPECT_TRUE(file->body == large_body());
  const auto chunks = fetch_text(url("/chunks"), {}, 1 << 20);
  ASSERT_TRUE(chunks) << chunks.error().message;
  EXPECT_TRUE(chunks->body.starts_with("0,1,2,") && chunks->body.ends_with(",99,"));
  EXPECT_EQ(chunks->head.body_bytes, -1);
}

TEST_F(HttpClientTest, GoesOnFromAByteOffset) {
  start();
  FetchOptions options;
  options.first_byte = 1'000'000;
  const auto rest = fetch_text(url("/file"), options, 1 << 24);
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_EQ(rest->head.status, 206);
  EXPECT_EQ(rest->head.first_byte, 1'000'000);
  EXPECT_TRUE(rest->body == large_body().substr(1'000'000));
}

TEST_F(HttpClientTest, FollowsRedirectsButNotForEver) {
  start();
  const auto moved = fetch_text(url("/a/moved"), {}, 1 << 24);
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(moved->head.url, url("/file"));
  EXPECT_THAT(fetch_text(url("/loop"), {}, 100).error().message,
              HasSubstr("more than 10 redirects"));
}

TEST_F(HttpClientTest, ReportsWhatWentWrong) {
  start();
  EXPECT_EQ(fetch_text(url("/nothing"), {}, 1000)->head.status, 404);
  EXPECT_EQ(fetch_text(url("/cut"), {}, 1000).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(fetch_text(url("/file"), {}, 1000).error().code, ErrorCode::kResourceExhausted);
  FetchOptions hasty;
  hasty.stall_timeout = 50ms;
  EXPECT_THAT(fetch_text(url("/silent"), hasty, 1000).error().message, HasSubstr("timed out"));
  EXPECT_THAT(fetch_text("http://no.such.host.invalid/", {}, 10).error().message,
              HasSubstr("cannot find the host"));
  const std::uint16_t port = server_->port();
  server_->stop();
  EXPECT_THAT(fetch_text(fmt::format("http://127.0.0.1:{}/", port), {}, 10).error().message,
              HasSubstr("cannot connect"));
}

TEST_F(HttpClientTest, UploadsAndTakesTheAnswerAsItIs) {
  start();
  FetchOptions options;
  options.upload = {"application/x-test", std::string("a\0b", 3) + large_body()};
  const auto reply = fetch_text(url("/echo"), options, 1 << 24);
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->head.status, 307);  // not followed
  EXPECT_EQ(find_header(reply->head.headers, "Content-Type"), "application/x-test");
  EXPECT_TRUE(reply->body == options.upload->body);
}

// A server that always sends another byte in time.
TEST_F(HttpClientTest, TheWholeHasItsLimitToo) {
  start();
  FetchOptions options;
  options.total_timeout = 100ms;
  const auto begin = std::chrono::steady_clock::now();
  const auto reply = fetch_text(url("/drip"), options, 1 << 20);
  EXPECT_EQ(reply.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(reply.error().message, HasSubstr("100 ms"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
  options.total_timeout = 1min;
  EXPECT_TRUE(fetch_text(url("/chunks"), options, 1 << 20));
}

TEST_F(HttpClientTest, CanBeStopped) {
  start();
  FetchOptions options;
  std::stop_source source;
  options.stop = source.get_token();
  std::jthread stopping([&] {
    std::this_thread::sleep_for(50ms);
    source.request_stop();
  });
  EXPECT_EQ(fetch_text(url("/drip"), options, 1 << 20).error().code, ErrorCode::kCancelled);
  stopping.join();
  EXPECT_EQ(fetch_text(url("/file"), options, 1 << 20).error().code, ErrorCode::kCancelled);
}

// A self-signed certificate for "localhost", as a user would make it.
void write_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  EVP_PKEY* pair = EVP_EC_gen("P-256");
  X509* x509 = X509_new();
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_set_pubkey(x509, pair);
  X509_NAME* name = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(x509, name);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
  X509_add_ext(x509, extension, -1);
  X509_EXTENSION_free(extension);
  X509_sign(x509, pair, EVP_sha256());
  FILE* file = std::fopen(certificate.c_str(), "w");
  PEM_write_X509(file, x509);
  std::fclose(file);
  file = std::fopen(key.c_str(), "w");
  PEM_write_PrivateKey(file, pair, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(x509);
  EVP_PKEY_free(pair);
}

TEST_F(HttpClientTest, VerifiesCertificates) {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("edgewise_tls_{}", ::getpid());
  std::filesystem::create_directories(folder);
  write_certificate(folder / "cert.pem", folder / "key.pem");
  HttpServerOptions server_options;
  server_options.tls_certificate_file = folder / "cert.pem";
  server_options.tls_key_file = folder / "key.pem";
  start(std::move(server_options));

  EXPECT_THAT(fetch_text(url("/file"), {}, 1 << 24).error().message,
              HasSubstr("certificate verify failed"));
  FetchOptions trusting;
  trusting.authorities_file = folder / "cert.pem";
  const auto trusted = fetch_text(url("/file"), trusting, 1 << 24);
  ASSERT_TRUE(trusted) << trusted.error().message;
  EXPECT_TRUE(trusted->body == large_body());
  const std::string by_address = fmt::format("https://127.0.0.1:{}/file", server_->port());
  EXPECT_THAT(fetch_text(by_address, trusting, 1 << 24).error().message,
              HasSubstr("certificate verify failed"));
  FetchOptions careless;
  careless.verify_certificates = false;
  EXPECT_TRUE(fetch_text(by_address, careless, 1 << 24));
  EXPECT_TRUE(fetch_text(url("/chunks"), trusting, 1 << 24));

  HttpServerOptions wrong;
  wrong.tls_certificate_file = folder / "key.pem";
  wrong.tls_key_file = folder / "cert.pem";
  EXPECT_THAT(HttpServer::start(wrong, Router{}).error().message,
              HasSubstr("cannot use the TLS certificate"));
  std::filesystem::remove_all(folder);
}

TEST(Url, ParsesAndRefuses) {
  const auto url = parse_url("https://example.org:8443/a/b?c=d#e");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->host, "example.org");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(url->text(), "https://example.org:8443/a/b?c=d");
  EXPECT_EQ(parse_url("http://[::1]:80/")->host, "::1");
  EXPECT_EQ(parse_url("http://[::1]/")->host_header(), "[::1]");
  EXPECT_EQ(parse_url("http://h?x")->target, "/?x");
  EXPECT_EQ(parse_url("http://h:65535/")->port, "65535");
  for (const char* bad :
       {"ftp://h/", "http://", "http://h:x/", "http://h:123456/", "http://h:65536/",
        "http://h:99999/", "http://h:0/", "http://h:00000/", "http://h:000080/",
        "http://[::1]:65536/", "http://[::1", "http://[::1]x/", "http://user@h/", "http://h/a b",
        "http://h/\r\nX: y", "h/path", ""}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
  EXPECT_EQ(resolve_location(*url, "//other/x")->text(), "https://other/x");
  EXPECT_EQ(resolve_location(*url, "x")->text(), "https://example.org:8443/a/x");
}

}  // namespace
}  // namespace edgewise::net
