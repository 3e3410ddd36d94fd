// What steps of a model cost before any was measured.
#pragma once

#include "engine/step_cost.h"
#include "model/model.h"

namespace edgewise::engine {

StepCost expected_cost(const model::Model& model);

}  // namespace edgewise::engine
