#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/log.h"
#include "kernels/packing_fingerprint.h"
#include "kernels/planes.h"
#include "model/weights.h"
#include "platform/cpu.h"
#include "platform/huge_pages.h"

namespace edgewise::model {
namespace {

constexpr std::int64_t kAlignment = 4096;
// Raw bytes packed by one worker before the pages are dropped and progress is counted.
constexpr std::int64_t kPieceBytes = 1 << 20;

std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::int64_t packed_size(const Matrix& matrix) {
  return kernels::packed_bytes(matrix.type, matrix.rows, matrix.cols);
}

// Panels of one matrix, about kPieceBytes.
struct Piece {
  const Matrix* matrix;
  std::byte* out;
  std::int64_t panel_begin, panel_end;
};

std::vector<Piece> cut(std::span<Matrix* const> matrices, std::byte* memory) {
  std::vector<Piece> pieces;
  for (const Matrix* matrix : matrices) {
    const std::int64_t panels = matrix->packed.panels();
    const std::int64_t step =
        std::max<std::int64_t>(1, kPieceBytes / kernels::panel_bytes(matrix->type, matrix->cols));
    for (std::int64_t p = 0; p < panels; p += step) {
      pieces.push_back({matrix, memory, p, std::min(panels, p + step)});
    }
    memory += aligned(packed_size(*matrix));
  }
  return pieces;
}

void release_rows(const tensor::ModelFile& file, const Piece& piece) {
  const Matrix& matrix = *piece.matrix;
  const std::int64_t row_bytes = tensor::storage_bytes(matrix.type, matrix.cols);
  const std::int64_t begin = piece.panel_begin * kernels::kPanelRows;
  const std::int64_t end = std::min(matrix.rows, piece.panel_end * kernels::kPanelRows);
  file.release(matrix.stored.subspan(static_cast<std::size_t>(begin * row_bytes),
                                     static_cast<std::size_t>((end - begin) * row_bytes)));
}

std::int64_t packed_size(const Weights& weights) {
  std::int64_t bytes = 0;
  for (const Matrix* matrix : weights.matrices()) {
    bytes += aligned(packed_size(*matrix));
  }
  return bytes;
}

// Points each matrix at its panels in `memory`.
void place_panels(Weights& weights, const std::byte* memory) {
  for (Matrix* matrix : weights.matrices()) {
    matrix->packed = matrix->in_planes
                         ? kernels::split_matrix(matrix->type, matrix->rows, matrix->cols, memory)
                         : kernels::PackedMatrix{matrix->type, matrix->rows, matrix->cols, memory};
    memory += aligned(packed_size(*matrix));
  }
}

// Of which bytes these panels are made, and how they are laid out.
std::string packed_label(const Weights& weights, const tensor::ModelFile& file) {
  std::string label =
      fmt::format("edgewise packed weights 2\npacking {:016x}\n", kernels::packing_fingerprint());
  for (const platform::FileStamp& stamp : file.stamps()) {
    label += fmt::format("file {} {} {} {} {}\n", stamp.device, stamp.inode, stamp.size,
                         stamp.modified_ns, stamp.changed_ns);
  }
  for (const Matrix* matrix : weights.matrices()) {
    label += fmt::format("{} {} {} at {}{}\n", tensor::traits(matrix->type).name, matrix->rows,
                         matrix->cols, file.place_of(matrix->stored),
                         matrix->in_planes ? " in planes" : "");
  }
  return label;
}

Result<PackedMemory> pack_weights(Weights& weights,
                                  const tensor::ModelFile& file,
                                  platform::WorkerPool& pool,
                                  const std::function<void(double fraction)>& on_progress) {
  PackedMemory memory = TRY(PackedMemory::reserve(packed_size(weights)));
  place_panels(weights, memory.data());
  const std::vector<Piece> pieces = cut(weights.matrices(), memory.writable());
  std::atomic<std::int64_t> done = 0;
  pool.parallel_for(std::ssize(pieces), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(i)];
      const Matrix& matrix = *piece.matrix;
      const auto pack = matrix.in_planes ? kernels::pack_planes : kernels::pack_panels;
      pack(matrix.type, matrix.stored, matrix.rows, matrix.cols, piece.panel_begin, piece.panel_end,
           piece.out);
      release_rows(file, piece);
      ++done;
    }
    if (worker == 0 && on_progress) {
      on_progress(static_cast<double>(done) / static_cast<double>(pieces.size()));
    }
  });
  if (on_progress) {
    on_progress(1.0);
  }
  return memory;
}

// Beside the engine, which reads the file's pages meanwhile. Only where the panels take at most half of the available
// memory: as memory of the process they can no longer be given back, and the cache for keys and values was promised its
// part before.
std::jthread move_to_huge_pages(std::span<const std::byte> panels) {
  if (2 * std::ssize(panels) > platform::available_memory_bytes()) {
    return {};
  }
  return std::jthread([panels](const std::stop_token& stop) {
    const sched_param idle{};
    ::pthread_setschedparam(::pthread_self(), SCHED_IDLE,
                            &idle);  // whoever waits for a token goes first
    const std::size_t moved = platform::replace_by_huge_pages(panels, stop);
    log(LogLevel::kInfo, "{} of {} MiB of packed weights are in huge pages", moved >> 20U,
        panels.size() >> 20U);
  });
}

Result<Panels> map_or_pack(Weights& weights,
                           const tensor::ModelFile& file,
                           platform::WorkerPool& pool,
                           const LoadOptions& options) {
  Panels panels;
  if (options.packed_folder.empty()) {
    panels.memory = TRY(pack_weights(weights, file, pool, options.on_progress));
    return panels;
  }
  const std::filesystem::path path = packed_file_in(options.packed_folder);
  std::string label = packed_label(weights, file);
  if (auto kept = map_packed_file(path, label, packed_size(weights), pool)) {
    place_panels(weights, kept->data());
    panels.memory = std::move(*kept);
    panels.mover = move_to_huge_pages(panels.memory.view());
    return panels;
  }
  panels.memory = TRY(pack_weights(weights, file, pool, options.on_progress));
  panels.writer = std::make_unique<PackedFileWriter>(path, std::move(label), panels.memory.view());
  return panels;
}

}  // namespace

Result<Panels> prepare_panels(Weights& weights,
                              const tensor::ModelFile& file,
                              platform::WorkerPool& pool,
                              const LoadOptions& options) {
  Panels panels = TRY(map_or_pack(weights, file, pool, options));
  for (const tensor::TensorView& tensor : file.tensors()) {  // pages that loading has touched
    file.release(tensor.data);
  }
  return panels;
}

}  // namespace edgewise::model
