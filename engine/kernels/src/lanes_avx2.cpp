#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace avx2 {
constexpr size_t WIDTH = 8;
#include "lanes.inc"
}  // namespace avx2
