#include "api/service_level.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string>

namespace edgewise::api {
namespace {

constexpr std::int64_t kMaxDeadlineMs = 24LL * 3600 * 1000;
constexpr std::string_view kHeaderPrefix = "x-edgewise-";

template <typename T>
Result<T> parse_number(std::string_view name, std::string_view text, T lowest, T highest) {
  T value{};
  const auto [stopped, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || stopped != text.data() + text.size() ||
      !(value >= lowest && value <= highest)) {
    return fail(ErrorCode::kInvalidArgument, "{}: expected a number from {} to {}, not \"{}\"",
                name, lowest, highest, text.substr(0, 40));
  }
  return value;
}

Result<bool> parse_flag(std::string_view name, std::string_view text) {
  if (text == "true" || text == "1") {
    return true;
  }
  if (text == "false" || text == "0") {
    return false;
  }
  return fail(ErrorCode::kInvalidArgument, "{}: expected true or false, not \"{}\"", name,
              text.substr(0, 40));
}

// "X-Edgewise-Deadline-Ms" → "deadline_ms"; empty when it is another header.
std::string field_of_header(std::string_view header) {
  if (header.size() < kHeaderPrefix.size() ||
      !net::names_equal(header.substr(0, kHeaderPrefix.size()), kHeaderPrefix)) {
    return {};
  }
  std::string name;
  for (const char c : header.substr(kHeaderPrefix.size())) {
    name += c == '-' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return name;
}

}  // namespace

ServiceLevel ServiceLevel::over(const ServiceLevel& defaults) const {
  const auto either = [](const auto& own, const auto& other) { return own ? own : other; };
  return {.deadline = either(deadline, defaults.deadline),
          .first_token_deadline = either(first_token_deadline, defaults.first_token_deadline),
          .priority = either(priority, defaults.priority),
          .min_accuracy = either(min_accuracy, defaults.min_accuracy),
          .min_tokens = either(min_tokens, defaults.min_tokens),
          .max_tokens = either(max_tokens, defaults.max_tokens),
          .ignore_eos = either(ignore_eos, defaults.ignore_eos),
          .approximate_reuse = either(approximate_reuse, defaults.approximate_reuse)};
}

ServiceLevel parse_service_level(Fields& fields) {
  ServiceLevel level;
  const auto milliseconds = [&](std::string_view name) {
    const auto ms = fields.integer(name, 1, kMaxDeadlineMs);
    return ms ? std::optional(std::chrono::milliseconds(*ms)) : std::nullopt;
  };
  level.deadline = milliseconds("deadline_ms");
  level.first_token_deadline = milliseconds("first_token_deadline_ms");
  level.priority = fields.integer("priority", -kMostPriority, kMostPriority);
  level.min_accuracy = fields.number("min_accuracy", 0, 1);
  level.min_tokens = fields.integer("min_tokens", 0, kManyTokens);
  level.ignore_eos = fields.boolean("ignore_eos");
  level.approximate_reuse = fields.boolean("approximate_reuse");
  return level;
}

Result<void> set_service_level(ServiceLevel& level,
                               std::string_view name,
                               std::string_view value,
                               bool& is_known) {
  is_known = true;
  const auto integer = [&](std::int64_t lowest, std::int64_t highest) {
    return parse_number<std::int64_t>(name, value, lowest, highest);
  };
  if (name == "deadline_ms") {
    level.deadline = std::chrono::milliseconds(TRY(integer(1, kMaxDeadlineMs)));
  } else if (name == "first_token_deadline_ms") {
    level.first_token_deadline = std::chrono::milliseconds(TRY(integer(1, kMaxDeadlineMs)));
  } else if (name == "priority") {
    level.priority = TRY(integer(-kMostPriority, kMostPriority));
  } else if (name == "min_accuracy") {
    level.min_accuracy = TRY(parse_number<double>(name, value, 0.0, 1.0));
  } else if (name == "min_tokens") {
    level.min_tokens = TRY(integer(0, kManyTokens));
  } else if (name == "max_tokens") {
    level.max_tokens = TRY(integer(1, kManyTokens));
  } else if (name == "ignore_eos") {
    level.ignore_eos = TRY(parse_flag(name, value));
  } else if (name == "approximate_reuse") {
    level.approximate_reuse = TRY(parse_flag(name, value));
  } else {
    is_known = false;
  }
  return {};
}

ServiceLevel parse_service_headers(const net::Request& request,
                                   bool may_name_tenant,
                                   bool may_forward,
                                   Problem& problem) {
  ServiceLevel level;
  std::set<std::string> seen;
  for (const net::Header& header : request.headers) {
    const std::string name = field_of_header(header.name);
    if (name.empty()) {
      continue;
    }
    if (!seen.insert(name).second) {
      problem.report(header.name, fmt::format("{}: sent twice.", header.name));
    }
    if (may_name_tenant && net::names_equal(header.name, kTenantHeader)) {
      if (header.value.size() > kMostTenantBytes) {
        problem.report(header.name, fmt::format("{}: longer than {} characters.", header.name,
                                                kMostTenantBytes));
      }
      continue;
    }
    if (may_forward && net::names_equal(header.name, kForwardedHeader)) {
      continue;
    }
    bool is_known = false;
    const auto set = set_service_level(level, name, header.value, is_known);
    if (!is_known) {
      problem.report(header.name,
                     fmt::format("{}: there is no such header of this server.", header.name),
                     "unknown_header");
    } else if (!set) {
      problem.report(header.name, fmt::format("{}: {}.", header.name, set.error().message));
    }
  }
  return level;
}

void refuse_service_headers(const net::Request& request, Problem& problem) {
  for (const net::Header& header : request.headers) {
    if (!field_of_header(header.name).empty()) {
      problem.report(header.name, fmt::format("{}: not supported here.", header.name),
                     "unknown_header");
    }
  }
}

bool is_accurate(const ModelCard& card, double min_accuracy) {
  return min_accuracy <= card.accuracy.value_or(0.0);
}

void check_accuracy(const ServiceLevel& level,
                    std::span<const ModelCard* const> cards,
                    double elsewhere,
                    Problem& problem) {
  const double wanted = level.min_accuracy.value_or(0.0);
  const ModelCard& best = **std::ranges::max_element(
      cards, {}, [](const ModelCard* card) { return card->accuracy.value_or(-1.0); });
  if (is_accurate(best, wanted) || (elsewhere > 0.0 && wanted <= elsewhere)) {
    return;
  }
  const std::string who = cards.size() == 1
                              ? fmt::format("the model \"{}\"", best.id)
                              : fmt::format("the best of \"{}\", \"{}\",", best.group, best.id);
  const std::string why = best.accuracy
                              ? fmt::format("{} is measured at {}", who, *best.accuracy)
                              : fmt::format(
                                    "the accuracy of {} is not known (its server was started "
                                    "without --accuracy)",
                                    who);
  problem.report("min_accuracy",
                 fmt::format("min_accuracy: {} was asked for, but {}.", wanted, why),
                 "accuracy_unavailable");
}

}  // namespace edgewise::api
