#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "model/weights.h"

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
  for (Matrix* matrix : matrices) {
    matrix->packed = {matrix->type, matrix->rows, matrix->cols, memory};
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
  tensor::TensorView rows;
  rows.type = matrix.type;
  rows.shape = {matrix.cols, end - begin};
  rows.data = matrix.stored.subspan(static_cast<std::size_t>(begin * row_bytes),
                                    static_cast<std::size_t>((end - begin) * row_bytes));
  file.release(rows);
}

}  // namespace

PackedMemory::PackedMemory(PackedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PackedMemory& PackedMemory::operator=(PackedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PackedMemory::~PackedMemory() {
  if (data_ != nullptr) {
    ::munmap(data_, static_cast<std::size_t>(bytes_));
  }
}

Result<PackedMemory> PackedMemory::reserve(std::int64_t bytes) {
  PackedMemory memory;
  void* data = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return fail(ErrorCode::kResourceExhausted, "cannot get {} bytes for the model's weights: {}",
                bytes, std::strerror(errno));
  }
  ::madvise(data, static_cast<std::size_t>(bytes),
            MADV_HUGEPAGE);  // fewer page faults while packing; a hint only
  memory.data_ = static_cast<std::byte*>(data);
  memory.bytes_ = bytes;
  return memory;
}

Result<PackedMemory> pack_weights(Weights& weights,
                                  const tensor::ModelFile& file,
                                  platform::WorkerPool& pool,
                                  const std::function<void(double fraction)>& on_progress) {
  const std::vector<Matrix*> matrices = weights.matrices();
  std::int64_t bytes = 0;
  for (const Matrix* matrix : matrices) {
    bytes += aligned(packed_size(*matrix));
  }
  PackedMemory memory = TRY(PackedMemory::reserve(bytes));
  const std::vector<Piece> pieces = cut(matrices, memory.data());
  std::atomic<std::int64_t> done = 0;
  pool.parallel_for(std::ssize(pieces), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(i)];
      const Matrix& matrix = *piece.matrix;
      kernels::pack_panels(matrix.type, matrix.stored, matrix.rows, matrix.cols, piece.panel_begin,
                           piece.panel_end, piece.out);
      release_rows(file, piece);
      ++done;
    }
    if (worker == 0 && on_progress) {
      on_progress(static_cast<double>(done) / static_cast<double>(pieces.size()));
    }
  });
  for (const tensor::TensorView& tensor : file.tensors()) {  // the pages that two pieces shared
    file.release(tensor);
  }
  return memory;
}

}  // namespace edgewise::model
