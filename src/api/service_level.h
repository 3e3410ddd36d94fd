// What a request may ask of the service beside its answer: when it has to be there, how much it
// matters, how good the model must be. Each wish comes from the request's JSON fields, else from its
// X-Edgewise-... headers, else from the defaults of its API key.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string_view>

#include "api/fields.h"
#include "api/model_card.h"
#include "base/result.h"
#include "net/http_message.h"

namespace edgewise::api {

struct ServiceLevel {
  std::optional<std::chrono::milliseconds> deadline;  // for the last token, since the headers came
  std::optional<std::chrono::milliseconds> first_token_deadline;
  std::optional<std::int64_t> priority;  // each step doubles what the request is worth, and costs
  std::optional<double> min_accuracy;    // 0 to 1, see ModelCard::accuracy
  std::optional<std::int64_t> min_tokens;
  std::optional<std::int64_t> max_tokens;
  std::optional<bool> ignore_eos;
  std::optional<bool> approximate_reuse;  // engine::Request

  // Its own wishes, and those of `defaults` where it has none.
  ServiceLevel over(const ServiceLevel& defaults) const;
};

constexpr std::int64_t kMostPriority = 10;  // and -10
constexpr std::int64_t kManyTokens = std::int64_t{1} << 31;

// From the JSON fields deadline_ms, first_token_deadline_ms, priority, min_accuracy, min_tokens,
// ignore_eos, approximate_reuse. Without max_tokens: the routes call it by different names.
ServiceLevel parse_service_level(Fields& fields);

// "priority", "3": the same names, and max_tokens, with values as text. `is_known` tells whether the name is one of
// them.
Result<void> set_service_level(ServiceLevel& level,
                               std::string_view name,
                               std::string_view value,
                               bool& is_known);

// From headers like X-Edgewise-Deadline-Ms. An X-Edgewise-... header that is none of these is an
// error; kTenantHeader is one unless `may_name_tenant`, kForwardedHeader unless `may_forward`.
ServiceLevel parse_service_headers(const net::Request& request,
                                   bool may_name_tenant,
                                   bool may_forward,
                                   Problem& problem);

// Whose request it is, of those that another server has (KeyPolicy::front).
inline constexpr std::string_view kTenantHeader = "X-Edgewise-Tenant";
inline constexpr std::size_t kMostTenantBytes = 128;
// Another server gave this one the request: it goes no further. From servers' keys, and where none is asked for.
inline constexpr std::string_view kForwardedHeader = "X-Edgewise-Forwarded";

// For routes that have no service levels: an X-Edgewise-... header is an error.
void refuse_service_headers(const net::Request& request, Problem& problem);

bool is_accurate(const ModelCard& card, double min_accuracy);

// Whether any of the models is measured to be as good as was asked for. `elsewhere`: the best of their group on other
// servers; 0: none.
void check_accuracy(const ServiceLevel& level,
                    std::span<const ModelCard* const> cards,
                    double elsewhere,
                    Problem& problem);

}  // namespace edgewise::api
