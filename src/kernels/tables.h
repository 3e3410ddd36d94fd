// The tables that exist in this build; select.cc chooses among them. Private to kernels/.
#pragma once

#include "kernels/kernel_table.h"

namespace edgewise::kernels {
namespace portable {
const KernelTable& table();
}
#if defined(__x86_64__)
namespace avx2 {
const KernelTable& table();
}

namespace avxvnni {
const KernelTable& table();
}

namespace avx512 {
const KernelTable& table();
}

namespace amx {
const KernelTable& table();
}
#endif
#if defined(__aarch64__)
namespace neon {
const KernelTable& table();
}

namespace dotprod {
const KernelTable& table();
}

namespace i8mm {
const KernelTable& table();
}
#endif
}  // namespace edgewise::kernels
