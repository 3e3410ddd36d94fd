#include "model/model.h"

#include "base/log.h"
#include "model/architectures/architectures.h"
#include "model/oracle.h"
#include "model/transformer.h"

namespace edgewise::model {

Result<std::unique_ptr<Model>> Model::load(std::shared_ptr<const tensor::ModelFile> file,
                                           kernels::Ops& ops,
                                           LoadOptions options) {
  const std::string path = file->path().string();
  auto spec = read_spec(*file, options.context);
  if (!spec) {
    return wrap(std::move(spec).error(), path);
  }
  if (options.oracle && options.shortlist) {
    log(LogLevel::kWarning, "the shortlist has no effect: the oracle computes all logits");
  }
  auto model = options.oracle ? load_oracle(file, std::move(*spec), ops.pool())
                              : Transformer::load(file, std::move(*spec), ops, options);
  if (!model) {
    return wrap(std::move(model).error(), path);
  }
  return model;
}

}  // namespace edgewise::model
