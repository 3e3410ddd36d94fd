#include "tracing.h"

#include <algorithm>
#include <cstdlib>

#include "net/url.h"

namespace edgewise::app {
namespace {

constexpr char kPath[] = "/v1/traces";

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first that is set.
std::string from_environment(const char* first, const char* second) {
  const std::string value = from_environment(first);
  return value.empty() ? from_environment(second) : value;
}

std::string with_path(std::string base) {
  while (base.ends_with('/')) {
    base.pop_back();
  }
  return base + kPath;
}

// The option may have the path or leave it out.
Result<std::string> url_of(const std::string& option) {
  if (!option.empty()) {
    const net::Url url = TRY(net::parse_url(option));
    return url.target == "/" ? with_path(option) : option;
  }
  if (from_environment("OTEL_SDK_DISABLED") == "true") {
    return "";
  }
  if (std::string exact = from_environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); !exact.empty()) {
    return exact;
  }
  const std::string base = from_environment("OTEL_EXPORTER_OTLP_ENDPOINT");
  return base.empty() ? "" : with_path(base);
}

Result<void> check_protocol() {
  const std::string protocol =
      from_environment("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
  if (!protocol.empty() && protocol != "http/protobuf") {
    return fail(ErrorCode::kInvalidArgument,
                "OTEL_EXPORTER_OTLP_PROTOCOL is {}, but traces are only sent as http/protobuf "
                "(collectors take it on port 4318); OTEL_SDK_DISABLED=true switches them off",
                protocol);
  }
  return {};
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(' '), text.size());
  const std::size_t end = text.find_last_not_of(' ');
  return begin == text.size() ? std::string_view() : text.substr(begin, end + 1 - begin);
}

bool is_header_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
}

// "name=value,name=value", values percent-encoded. The values are secrets: errors do not repeat them.
Result<std::vector<net::Header>> headers_of(std::string_view text) {
  std::vector<net::Header> headers;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string_view entry = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (entry.empty()) {
      continue;
    }
    const std::size_t equals = std::min(entry.find('='), entry.size());
    net::Header header{std::string(trimmed(entry.substr(0, equals))),
                       equals == entry.size()
                           ? std::string()
                           : net::percent_decode(trimmed(entry.substr(equals + 1)))};
    const bool is_name = !header.name.empty() &&
                         header.name.find_first_of(" :\"(){}[];,/?@<>\\") == std::string::npos;
    if (equals == entry.size() || !is_name || !is_header_text(header.name) ||
        !is_header_text(header.value)) {
      return fail(ErrorCode::kInvalidArgument,
                  "OTEL_EXPORTER_OTLP_HEADERS: entry {} is no name=value that a header can carry",
                  headers.size() + 1);
    }
    headers.push_back(std::move(header));
  }
  return headers;
}

}  // namespace

Result<std::shared_ptr<trace::Exporter>> create_exporter(const std::string& endpoint) {
  trace::ExporterOptions options;
  options.url = TRY(url_of(endpoint));
  if (options.url.empty()) {
    return nullptr;
  }
  TRY_VOID(check_protocol());
  options.headers = TRY(headers_of(
      from_environment("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")));
  options.resource.service_version = EDGEWISE_VERSION;
  if (std::string name = from_environment("OTEL_SERVICE_NAME"); !name.empty()) {
    options.resource.service_name = std::move(name);
  }
  return trace::Exporter::create(std::move(options));
}

}  // namespace edgewise::app
