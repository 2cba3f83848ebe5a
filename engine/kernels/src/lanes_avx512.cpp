#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace avx512 {
constexpr size_t WIDTH = 16;
#include "lanes.inc"
}  // namespace avx512
