// Products of some queries with as many others at once. Compiled once for every machine and once for those with wider
// registers (lanes.inc); the operations and their order are the same, so the results are, too.
#pragma once

#include <cstddef>

constexpr size_t QUERIES = 4, LANES = 16;

// products[q][j] = sum over d of queries[q][d] * others[d][j], d ascending; `others` has `stride` values a dimension.
using Multiply = void (*)(const float *const *queries, const float *others, size_t dims, size_t stride, float *products);

namespace baseline {
void multiply(const float *const *queries, const float *others, size_t dims, size_t stride, float *products);
}
namespace avx2 {
void multiply(const float *const *queries, const float *others, size_t dims, size_t stride, float *products);
}

inline Multiply lanes_of_this_machine() {
#ifdef HAS_AVX2_LANES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) return avx2::multiply;
#endif
  return baseline::multiply;
}
