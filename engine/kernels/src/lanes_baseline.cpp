#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace baseline {
constexpr size_t WIDTH = 4;
#include "lanes.inc"
}  // namespace baseline
