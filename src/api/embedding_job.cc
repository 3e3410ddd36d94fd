#include "api/embedding_job.h"

#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "api/json_writer.h"

namespace edgewise::api {
namespace {

constexpr std::size_t kInFlight = 16;  // of one request: others get their turn

}  // namespace

std::string base64_of(std::span<const float> values) {
  static_assert(std::endian::native == std::endian::little);
  std::string out(4 * ((values.size_bytes() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(values.data()),
                                     static_cast<int>(values.size_bytes()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

EmbeddingJob::EmbeddingJob(std::shared_ptr<Backend> backend,
                           Reply reply,
                           std::vector<std::vector<TokenId>> inputs,
                           bool base64,
                           Post post,
                           KeyLimits::Ticket ticket)
    : backend_(std::move(backend)),
      base64_(base64),
      post_(std::move(post)),
      ticket_(std::move(ticket)),
      reply_(std::move(reply)),
      trace_(reply_.trace()),
      inputs_(std::move(inputs)),
      embeddings_(inputs_.size()) {
  trace_.set_model(backend_->card().id);
}

void EmbeddingJob::run(std::shared_ptr<Backend> backend,
                       Reply reply,
                       std::vector<std::vector<TokenId>> inputs,
                       bool base64,
                       Post post,
                       KeyLimits::Ticket ticket) {
  const net::Responder responder = reply.responder();
  const std::size_t at_first = std::min(kInFlight, inputs.size());
  const std::shared_ptr<EmbeddingJob> job(new EmbeddingJob(std::move(backend), std::move(reply),
                                                           std::move(inputs), base64,
                                                           std::move(post), std::move(ticket)));
  responder.on_disconnect([weak = job->weak_from_this()] {
    if (const auto alive = weak.lock()) {
      alive->stop(std::nullopt);
    }
  });
  for (std::size_t i = 0; i < at_first; ++i) {
    job->start_more();
  }
}

// Starts the next input, if there is one.
void EmbeddingJob::start_more() {
  std::size_t index = 0;
  std::vector<TokenId> tokens;
  {
    const MutexLock lock(mutex_);
    if (stopped_ || next_ == inputs_.size()) {
      return;
    }
    index = next_++;
    tokens = std::move(inputs_[index]);
  }
  auto id = backend_->start_embedding(
      std::move(tokens), [self = shared_from_this(), index](Result<std::vector<float>> embedding,
                                                            engine::Usage usage) {
        self->on_done(index, std::move(embedding), usage);
      });
  if (!id) {
    ApiError error = to_api_error(id.error());
    error.message = fmt::format("input[{}]: {}", index, error.message);
    error.param = "input";
    stop(error);
    return;
  }
  bool is_late = false;
  {
    const MutexLock lock(mutex_);
    ids_.push_back(*id);
    is_late = stopped_;
  }
  if (is_late) {
    backend_->cancel(*id);
  }
}

void EmbeddingJob::on_done(std::size_t index,
                           Result<std::vector<float>> embedding,
                           const engine::Usage& usage) {
  ticket_.charge(usage.prompt_tokens - usage.cached_tokens);
  trace_.add_answer(usage, "", true);
  if (!embedding) {
    stop(to_api_error(embedding.error()));
    return;
  }
  const MutexLock lock(mutex_);
  if (stopped_) {
    return;
  }
  embeddings_[index] = std::move(*embedding);
  prompt_tokens_ += usage.prompt_tokens;
  reply_.metrics().of(backend_->card().id).count_usage(usage);
  if (++finished_ == inputs_.size()) {
    complete();
  } else if (next_ < inputs_.size()) {
    // With the lock held: a server that stops has told us before it is gone.
    post_([self = shared_from_this()] { self->start_more(); });
  }
}

void EmbeddingJob::stop(const std::optional<ApiError>& error) {
  std::vector<RequestId> ids;
  {
    const MutexLock lock(mutex_);
    if (std::exchange(stopped_, true)) {
      return;
    }
    error ? reply_.send_error(*error) : reply_.count_gone();
    ids = ids_;
  }
  for (const RequestId id : ids) {
    backend_->cancel(id);
  }
}

void EmbeddingJob::complete() {
  stopped_ = true;
  ticket_ = {};  // before the reply: whoever has read it may ask again
  JsonWriter out;
  out.begin_object().key("object").string("list").key("data").begin_array();
  for (std::size_t i = 0; i < embeddings_.size(); ++i) {
    out.begin_object()
        .key("object")
        .string("embedding")
        .key("index")
        .integer(static_cast<std::int64_t>(i))
        .key("embedding");
    if (base64_) {
      out.string(base64_of(embeddings_[i]));
    } else {
      out.begin_array();
      for (const float value : embeddings_[i]) {
        out.number(value);
      }
      out.end_array();
    }
    out.end_object();
  }
  out.end_array().key("model").string(backend_->card().id);
  out.key("usage").begin_object().key("prompt_tokens").integer(prompt_tokens_);
  out.key("total_tokens").integer(prompt_tokens_).end_object().end_object();
  reply_.send_json(out.take());
}

}  // namespace edgewise::api
