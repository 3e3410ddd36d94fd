// The embeddings of one request: a few inputs at a time in the engine, all of them in one reply, in
// order.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "api/backend.h"
#include "api/key_limits.h"
#include "api/reply.h"
#include "base/mutex.h"

namespace edgewise::api {

class EmbeddingJob : public std::enable_shared_from_this<EmbeddingJob> {
 public:
  using Post = std::function<void(std::function<void()>)>;  // runs work on a handler thread

  static void run(std::shared_ptr<Backend> backend,
                  Reply reply,
                  std::vector<std::vector<TokenId>> inputs,
                  bool base64,
                  Post post,
                  KeyLimits::Ticket ticket);  // kept until the reply, or until all work has stopped

 private:
  EmbeddingJob(std::shared_ptr<Backend> backend,
               Reply reply,
               std::vector<std::vector<TokenId>> inputs,
               bool base64,
               Post post,
               KeyLimits::Ticket ticket);
  void start_more();
  void on_done(std::size_t index, Result<std::vector<float>> embedding, const engine::Usage& usage);
  void stop(const std::optional<ApiError>& error);
  void complete() EDGEWISE_REQUIRES(mutex_);

  const std::shared_ptr<Backend> backend_;
  const bool base64_;
  const Post post_;
  KeyLimits::Ticket ticket_;  // until complete() gives it back
  Mutex mutex_;
  Reply reply_ EDGEWISE_GUARDED_BY(mutex_);
  RequestTrace& trace_;  // the reply's
  std::vector<std::vector<TokenId>> inputs_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<std::vector<float>> embeddings_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<RequestId> ids_ EDGEWISE_GUARDED_BY(mutex_);
  std::size_t next_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  std::size_t finished_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  std::int64_t prompt_tokens_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  bool stopped_ EDGEWISE_GUARDED_BY(mutex_) = false;
};

// Little-endian floats in base64 (RFC 4648), OpenAI's encoding_format "base64".
std::string base64_of(std::span<const float> values);

}  // namespace edgewise::api
