// Errors in OpenAI's form, {"error": {"message", "type", "param", "code"}}, and the one table that
// maps our error codes to HTTP statuses.
#pragma once

#include <string>

#include "base/result.h"
#include "net/http_message.h"

namespace edgewise::api {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param = {};  // the field that is wrong, "messages[2].content"; empty: null
  std::string code = {};   // "context_length_exceeded", "model_not_found", ...; empty: null
  // With 429 and 503; told in whole seconds, at least 1. Infinite: there is no use in trying again.
  double retry_after_s = 0.0;
};

std::string error_type(int status);
std::string error_json(const ApiError& error);
// 429 and 503 with Retry-After, or x-should-retry: false.
net::Response error_response(const ApiError& error);

// An error of a lower level, as it is told to a client.
ApiError to_api_error(const Error& error);

// Codes of errors that only have a status (404, 405, 413, ...).
ApiError status_error(int status, std::string message);

}  // namespace edgewise::api
