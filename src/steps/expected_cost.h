// What steps of a model cost before any was measured.
#pragma once

#include "model/model.h"
#include "steps/step_cost.h"

namespace edgewise::steps {

StepCost expected_cost(const model::Model& model);

}  // namespace edgewise::steps
