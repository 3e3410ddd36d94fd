#include "net/router.h"

#include <gtest/gtest.h>

#include "net/cors.h"

namespace edgewise::net {
namespace {

TEST(Router, FindsByMethodAndPath) {
  Router router;
  std::string called;
  router.add("GET", "/v1/models", [&](const Request&, const Responder&) { called = "list"; });
  router.add("GET", "/v1/models/*", [&](const Request&, const Responder&) { called = "one"; });
  router.add("POST", "/v1/chat", [&](const Request&, const Responder&) { called = "chat"; });

  EXPECT_TRUE(router.find("GET", "/v1/models").handler);
  EXPECT_TRUE(router.find("HEAD", "/v1/models").handler);
  EXPECT_EQ(router.find("GET", "/v1/models/a%2Fb%20c").tail, "a/b c");
  EXPECT_EQ(router.find("GET", "/v1/models/a%2").tail, "a%2");
  EXPECT_EQ(router.find("GET", "/v1/models/").allow, "");
  EXPECT_EQ(router.find("GET", "/v1/chat").handler, nullptr);
  EXPECT_EQ(router.find("GET", "/v1/chat").allow, "POST, OPTIONS");
  EXPECT_EQ(router.find("POST", "/v1/models").allow, "GET, HEAD, OPTIONS");
  EXPECT_EQ(router.find("GET", "/nothing").allow, "");
}

Request request(std::string method, std::string origin, std::string host = "localhost:8080") {
  Request r;
  r.method = std::move(method);
  r.headers = {{"Host", std::move(host)}, {"Origin", std::move(origin)}};
  return r;
}

TEST(Cors, ListedOriginsGetHeadersOthersDoNot) {
  const CorsOptions options{{"https://app.example"}};
  EXPECT_EQ(find_header(cors_headers(options, request("GET", "https://app.example")),
                        "access-control-allow-origin"),
            "https://app.example");
  EXPECT_TRUE(cors_headers(options, request("GET", "https://evil.example")).empty());
  EXPECT_EQ(find_header(cors_headers({{"*"}}, request("GET", "https://evil.example")),
                        "access-control-allow-origin"),
            "*");
  EXPECT_FALSE(
      preflight_headers(options, request("OPTIONS", "https://app.example"), "POST").empty());
  EXPECT_TRUE(
      preflight_headers(options, request("OPTIONS", "https://evil.example"), "POST").empty());
}

TEST(Cors, ForeignPagesMayNotChangeAnything) {
  EXPECT_FALSE(is_origin_acceptable({}, request("POST", "https://evil.example")));
  EXPECT_FALSE(is_origin_acceptable({}, request("POST", "null")));
  EXPECT_TRUE(is_origin_acceptable({}, request("POST", "http://localhost:8080")));
  EXPECT_TRUE(is_origin_acceptable({}, request("GET", "https://evil.example")));
  EXPECT_TRUE(
      is_origin_acceptable({{"https://app.example"}}, request("POST", "https://app.example")));
  EXPECT_TRUE(is_origin_acceptable({}, request("POST", "")));
}

}  // namespace
}  // namespace edgewise::net
