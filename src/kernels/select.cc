#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "kernels/kernel_table.h"
#include "kernels/packed_layout.h"
#include "kernels/planes.h"
#include "kernels/tables.h"
#include "platform/cpu.h"

namespace edgewise::kernels {

std::int64_t matmul_scratch_bytes(std::int64_t cols) {
  const std::int64_t blocks = (cols + kBlock - 1) / kBlock;
  constexpr std::int64_t kUnpacked = sizeof(UnpackedBlock);
  return blocks * std::max(kMergedBlockBytes, kUnpacked);
}

std::span<const KernelTable* const> supported_tables() {
  struct List {
    std::array<const KernelTable*, 5> tables{};
    std::size_t size = 0;

    void add(const KernelTable& table) { tables[size++] = &table; }
  };

  static const List kList = [] {
    List list;
    list.add(portable::table());
#if defined(__x86_64__)
    if (platform::cpu_features().avx2_fma_f16c) {
      list.add(avx2::table());
    }
    if (platform::cpu_features().avx_vnni) {
      list.add(avxvnni::table());
    }
    if (platform::cpu_features().avx512 && platform::cpu_features().avx512_vnni) {
      list.add(avx512::table());
    }
    if (platform::cpu_features().amx_int8) {
      list.add(amx::table());
    }
#elif defined(__aarch64__)
    list.add(neon::table());
    if (platform::cpu_features().dotprod) {
      list.add(dotprod::table());
    }
    if (platform::cpu_features().dotprod && platform::cpu_features().i8mm) {
      list.add(i8mm::table());
    }
#endif
    return list;
  }();
  return {kList.tables.data(), kList.size};
}

Result<const KernelTable*> select_table() {
  const auto tables = supported_tables();
  const char* wanted = std::getenv("EDGEWISE_ISA");
  if (wanted == nullptr || *wanted == '\0') {
    return tables.back();
  }
  std::string names;
  for (const KernelTable* table : tables) {
    if (table->name == wanted) {
      return table;
    }
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  return fail(ErrorCode::kInvalidArgument, "EDGEWISE_ISA={}: this machine can run {}", wanted,
              names);
}

}  // namespace edgewise::kernels
