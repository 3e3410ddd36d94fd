// The packed form of a model's weights on disk, so that the next start is a plain map that several
// processes share (docs/decisions/008-packed-weights-on-disk.md).
//
// A file is a label, a checksum for each piece of the panels, and the panels. The label says in text
// what the panels were made of and how: the stamps of the model's files, the packing's fingerprint,
// the type, shape and place of each matrix. Who opens the file makes the label that it expects and
// compares bytes: nothing in the file is parsed, so nothing in it can mislead. A file that is
// truncated, damaged or of another model, layout or program is not used, and is replaced.
//
// The file is an optimization: no failure here keeps a model from loading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "model/packed_memory.h"
#include "platform/worker_pool.h"

namespace edgewise::model {

// `folder` is this model's own; its file is named after the packing's fingerprint.
std::filesystem::path packed_file_in(const std::filesystem::path& folder);

// nullopt: there is no file with this label and `panel_bytes` bytes of undamaged panels. Reads every
// byte once, on the pool: about the time of one decoding step.
std::optional<PackedMemory> map_packed_file(const std::filesystem::path& path,
                                            std::string_view label,
                                            std::int64_t panel_bytes,
                                            platform::WorkerPool& pool);

// Writes a packed file on a thread of its own, at idle priority, and removes what else is in its
// folder (other layouts). The file appears under its name whole or not at all.
class PackedFileWriter {
 public:
  // `panels` outlive the writer.
  PackedFileWriter(std::filesystem::path path,
                   std::string label,
                   std::span<const std::byte> panels);
  ~PackedFileWriter();  // lets it finish within two seconds, else gives up the file

  void wait() const;  // until written or failed

 private:
  Result<void> write(const std::stop_token& stop) const;

  std::filesystem::path path_;
  std::string label_;
  std::span<const std::byte> panels_;
  std::promise<void> end_;
  std::future<void> ended_ = end_.get_future();
  std::jthread thread_;  // last: it uses the others
};

}  // namespace edgewise::model
