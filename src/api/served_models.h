// The models of one server, and the names by which requests may call them. Immutable; any thread.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/backend.h"
#include "api/errors.h"
#include "api/json.h"

namespace edgewise::api {

class ServedModels {
 public:
  using Members = std::span<const std::shared_ptr<Backend>>;

  // Fails when two would have the same name, or members of a group are not of one kind.
  static Result<std::unique_ptr<const ServedModels>> create(
      std::vector<std::shared_ptr<Backend>> models);

  Members all() const { return all_; }

  const std::vector<std::string>& groups() const { return groups_; }  // their names

  // Who answers to the name: a model, or the members of a group, who agree in all of their cards that a
  // request is read by; empty: nobody. A model's own name and its file's count where only one
  // model has them and no other is called so.
  Members find(std::string_view name) const;

  // Who the request is for, by its "model". A request that has none is for the first model, as far
  // as is needed to tell what is wrong with it.
  tl::expected<Members, ApiError> find(const JsonValue& request) const;

  ApiError no_such_model(std::string_view name) const;

 private:
  explicit ServedModels(std::vector<std::shared_ptr<Backend>> models) : all_(std::move(models)) {}

  Result<void> name_all();
  Result<void> name_groups();

  std::vector<std::shared_ptr<Backend>> all_;
  std::vector<std::string> groups_;
  std::map<std::string, std::vector<std::shared_ptr<Backend>>, std::less<>> by_name_;
};

}  // namespace edgewise::api
