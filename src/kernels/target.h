// Regions of code compiled for an instruction set beyond the baseline:
//   TARGET_BEGIN("avx2,fma,f16c") ... TARGET_END
// Regions instead of per-file flags, so that an inline function of a shared header is never compiled with
// instructions that the baseline path could then execute. All includes come before the region.
#pragma once

#define EDGEWISE_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define TARGET_BEGIN(features) \
  EDGEWISE_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TARGET_END EDGEWISE_PRAGMA(clang attribute pop)
#else
#define TARGET_BEGIN(features) \
  EDGEWISE_PRAGMA(GCC push_options) EDGEWISE_PRAGMA(GCC target(features))
#define TARGET_END EDGEWISE_PRAGMA(GCC pop_options)
#endif
