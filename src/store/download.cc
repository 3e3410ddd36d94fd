#include <thread>

#include "net/http_client.h"
#include "store/disk.h"
#include "store/pull.h"

namespace edgewise::store {
namespace {

constexpr std::int64_t kCheckpointBytes = 16 << 20;  // what a crash can cost
constexpr int kMostAttempts = 4;                     // in a row without a new byte

// What tells later whether the file at the address is still the same (RFC 9110, 13.1.5: If-Range
// takes a strong entity tag or a date). Empty: nothing does.
std::string validator_of(const net::FetchHead& head) {
  const std::string_view tag = net::find_header(head.headers, "etag");
  return std::string(!tag.empty() && !tag.starts_with("W/")
                         ? tag
                         : net::find_header(head.headers, "last-modified"));
}

Result<void> check_status(const std::string& url, int status) {
  if (status == 200 || status == 206) {
    return {};
  }
  if (status == 404 || status == 410) {
    return fail(ErrorCode::kNotFound, "{} does not exist (HTTP status {})", url, status);
  }
  if (status == 401 || status == 403) {
    return fail(ErrorCode::kPermissionDenied,
                "{} is not public (HTTP status {}); download it yourself and pull the file", url,
                status);
  }
  return fail(ErrorCode::kUnavailable, "{} answers with HTTP status {}", url, status);
}

class Attempt {
 public:
  Attempt(const std::string& url, PartialFile& file, const PullEvents& events)
      : url_(url), file_(file), events_(events) {}

  Result<void> run() {
    net::FetchOptions options;
    if (file_.note().empty()) {
      TRY_VOID(file_.restart());  // nothing would tell whether the rest belongs to it
    } else if (file_.bytes() > 0) {
      options.first_byte = file_.bytes();
      options.headers.push_back({"If-Range", file_.note()});
    }
    const auto fetched =
        net::fetch(url_, options,
                   {.on_head = [&](const net::FetchHead& head) { return on_head(head); },
                    .on_bytes = [&](std::string_view bytes) { return on_bytes(bytes); }});
    if (!fetched && !validator_.empty() && file_.bytes() > 0) {
      TRY_VOID(file_.checkpoint(validator_));
    }
    return fetched ? Result<void>{} : tl::unexpected<Error>(fetched.error());
  }

 private:
  Result<void> on_head(const net::FetchHead& head) {
    if (head.status == 416 &&
        file_.bytes() > 0) {  // shorter than what we hold: another file by now
      TRY_VOID(file_.restart());
      return fail(ErrorCode::kUnavailable, "{} changed while it was downloaded", url_);
    }
    TRY_VOID(check_status(url_, head.status));
    if (head.first_byte != file_.bytes()) {
      if (head.first_byte != 0) {
        return fail(ErrorCode::kUnavailable,
                    "{}: the server sends bytes from {}, not from {} as asked", url_,
                    head.first_byte, file_.bytes());
      }
      TRY_VOID(file_.restart());
    }
    validator_ = validator_of(head);
    total_ = head.body_bytes < 0 ? 0 : head.first_byte + head.body_bytes;
    return check_free_space(file_.path().parent_path(), total_ - file_.bytes());
  }

  Result<void> on_bytes(std::string_view bytes) {
    TRY_VOID(file_.append(std::as_bytes(std::span(bytes))));
    since_checkpoint_ += std::ssize(bytes);
    if (since_checkpoint_ >= kCheckpointBytes && !validator_.empty()) {
      TRY_VOID(file_.checkpoint(validator_));
      since_checkpoint_ = 0;
    }
    events_.on_bytes(file_.bytes(), total_);
    return {};
  }

  const std::string& url_;
  PartialFile& file_;
  const PullEvents& events_;
  std::string validator_;
  std::int64_t total_ = 0;
  std::int64_t since_checkpoint_ = 0;
};

}  // namespace

Result<void> download(const std::string& url, PartialFile& file, const PullEvents& events) {
  int without_progress = 0;
  while (true) {
    const std::int64_t before = file.bytes();
    Result<void> done = Attempt(url, file, events).run();
    if (done) {
      return {};
    }
    const bool progressed = file.bytes() > before && !file.note().empty();
    without_progress = progressed ? 1 : without_progress + 1;
    if (done.error().code != ErrorCode::kUnavailable) {
      return done;
    }
    if (without_progress >= kMostAttempts) {
      return wrap(done.error(), "the download stopped (the same command continues it)");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(250) * (1 << without_progress));
  }
}

}  // namespace edgewise::store
