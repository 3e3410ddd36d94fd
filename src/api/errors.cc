#include "api/errors.h"

#include <algorithm>
#include <cmath>

#include "api/json_writer.h"

namespace edgewise::api {
namespace {

void nullable(JsonWriter& writer, std::string_view key, const std::string& value) {
  writer.key(key);
  value.empty() ? writer.null() : writer.string(value);
}

}  // namespace

// The type strings that OpenAI's clients and their users know.
std::string error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 504:
      return "timeout_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string error_json(const ApiError& error) {
  JsonWriter writer;
  writer.begin_object().key("error").begin_object();
  writer.key("message").string(error.message);
  writer.key("type").string(error_type(error.status));
  nullable(writer, "param", error.param);
  nullable(writer, "code", error.code);
  writer.end_object().end_object();
  return writer.take();
}

net::Response error_response(const ApiError& error) {
  net::Response response{.status = error.status, .body = error_json(error)};
  if (std::isinf(error.retry_after_s)) {
    response.headers.push_back({"x-should-retry", "false"});  // what OpenAI's clients look for
  } else if (error.status == 503 || error.status == 429) {
    const double seconds = std::clamp(std::ceil(error.retry_after_s), 1.0, 3600.0);
    response.headers.push_back({"Retry-After", std::to_string(static_cast<int>(seconds))});
  }
  if (error.status == 401) {
    response.headers.push_back({"WWW-Authenticate", "Bearer"});
  }
  return response;
}

ApiError to_api_error(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
      return {.status = 400, .message = error.message};
    case ErrorCode::kNotFound:
      return {.status = 404, .message = error.message, .code = "not_found"};
    case ErrorCode::kUnsupported:
      return {.status = 400, .message = error.message, .code = "unsupported"};
    case ErrorCode::kResourceExhausted:
      return {.status = 400, .message = error.message, .code = "context_length_exceeded"};
    case ErrorCode::kUnavailable:
      return {.status = 503,
              .message = error.message,
              .code = "unavailable",
              .retry_after_s = error.retry_after_s};
    case ErrorCode::kDeadlineUnreachable:
      return {.status = 503,
              .message = error.message,
              .param = "deadline_ms",
              .code = "deadline_unreachable",
              .retry_after_s = error.retry_after_s};
    case ErrorCode::kDeadlineExceeded:
      return {.status = 504,
              .message = error.message,
              .param = "deadline_ms",
              .code = "deadline_exceeded"};
    case ErrorCode::kCancelled:
      return {.status = 499, .message = error.message, .code = "cancelled"};
    case ErrorCode::kPermissionDenied:
      return {.status = 403, .message = error.message, .code = "permission_denied"};
    case ErrorCode::kCorrupt:
    case ErrorCode::kIo:
    case ErrorCode::kInternal:
      break;
  }
  return {.status = 500, .message = error.message, .code = "internal_error"};
}

ApiError status_error(int status, std::string message) {
  std::string code;
  switch (status) {
    case 404:
      code = "unknown_url";
      break;
    case 405:
      code = "method_not_allowed";
      break;
    case 408:
      code = "request_timeout";
      break;
    case 413:
      code = "request_too_large";
      break;
    case 431:
      code = "headers_too_large";
      break;
    case 500:
      code = "internal_error";
      break;
    case 503:
      code = "overloaded";
      break;
    default:
      break;
  }
  return {.status = status, .message = std::move(message), .code = std::move(code)};
}

}  // namespace edgewise::api
