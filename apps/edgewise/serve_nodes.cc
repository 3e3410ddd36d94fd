#include "serve_nodes.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>

#include "input.h"
#include "net/byte_stream.h"
#include "net/url.h"

namespace edgewise::app {
namespace {

// Empty: none.
Result<std::string> read_key(const std::string& file) {
  const char* from_environment = std::getenv("EDGEWISE_NODE_KEY");
  std::string key = from_environment != nullptr ? from_environment : "";
  if (!file.empty()) {
    key = TRY(read_text(file));
    key.resize(std::min(key.size(), key.find_first_of("\r\n")));
    if (key.empty()) {  // asking without one is not what was meant
      return fail(ErrorCode::kInvalidArgument, "{} holds no key in its first line", file);
    }
  }
  if (!std::ranges::all_of(key, [](char c) { return c > ' ' && c < '\x7f'; })) {
    return fail(ErrorCode::kInvalidArgument,
                "the key for nodes ({}) is no API key: it has only visible ASCII characters",
                file.empty() ? "EDGEWISE_NODE_KEY" : file);
  }
  return key;
}

Result<std::string> read_address(const std::string& text) {
  const net::Url url = TRY(net::parse_url(text));
  if (url.target != "/") {
    return fail(ErrorCode::kInvalidArgument,
                "--node is the address of a server, like http://10.0.0.2:8080, without a path: {}",
                text);
  }
  return text.ends_with('/') ? text.substr(0, text.size() - 1) : text;
}

Result<void> check_authorities(const NodeArguments& arguments) {
  if (arguments.authorities_file.empty()) {
    return {};
  }
  if (std::ranges::none_of(arguments.urls,
                           [](const std::string& url) { return url.starts_with("https:"); })) {
    return fail(ErrorCode::kInvalidArgument, "--node-ca has no use without an https:// node");
  }
  TRY(net::TlsContext::for_client(true, arguments.authorities_file));
  return {};
}

}  // namespace

Result<std::vector<nodes::NodeOptions>> read_nodes(const NodeArguments& arguments, bool has_keys) {
  if (arguments.urls.empty() &&
      (!arguments.key_file.empty() || !arguments.authorities_file.empty())) {
    return fail(ErrorCode::kInvalidArgument, "--node-key-file and --node-ca go with --node");
  }
  std::vector<nodes::NodeOptions> result;
  if (arguments.urls.empty()) {
    return result;
  }
  TRY_VOID(check_authorities(arguments));
  const std::string key = TRY(read_key(arguments.key_file));
  for (const std::string& text : arguments.urls) {
    const std::string url = TRY(read_address(text));
    if (std::ranges::any_of(result, [&](const auto& node) { return node.url == url; })) {
      return fail(ErrorCode::kInvalidArgument, "--node {} is given twice", text);
    }
    nodes::NodeOptions& node = result.emplace_back();
    node.url = url;
    node.key = key;
    node.authorities_file = arguments.authorities_file;
    node.must_name_tenants = has_keys;
  }
  return result;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace edgewise::app
