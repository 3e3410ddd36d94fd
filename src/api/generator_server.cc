// Apart from server.cc, so that tests with a backend of their own link without a model.
#include "api/generator_backend.h"
#include "api/server.h"

namespace edgewise::api {

Result<std::unique_ptr<Server>> Server::create(chat::Generator& generator, ServerOptions options) {
  auto backend =
      make_generator_backend(generator, options.alias, options.model_path, options.accuracy);
  return create(std::move(backend), std::move(options));
}

}  // namespace edgewise::api
