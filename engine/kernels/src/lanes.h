// What is done in wide registers. Compiled for every machine, and for those with registers of 256 and 512 bits
// (lanes.inc); the operations and their order are the same, so the results are, too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

constexpr size_t QUERIES = 8, LANES = 16;

// One row of a half-sweep of alternating least squares; see `solve_rows` in kernels.h.
struct LeastSquares {
  const float *gram, *others;  // (dims x dims) or none, (n x dims); dims is a multiple of LANES
  size_t dims, steps;
  const size_t *places;  // where each value's row starts in `others`
  const float *targets;
  const float *weights;  // or none: all weigh 1
  size_t n_values;
  float ridge;
  float *residual, *direction, *product;  // scratch, (dims) each
};

// What a row's vector leaves of its targets, for the vectors of its columns; see `add_left` in kernels.h.
struct Left {
  const float *row, *columns;  // (dims), (n x dims)
  size_t dims;
  const size_t *places;  // where each value's row starts in `columns`, and in what is added to
  const float *targets, *weights;  // or none: all are 0, all weigh 1
  size_t n_values;
};

// A vector on its way: conjugate gradients whose products with the other side come from outside, in sums.
struct Descent {
  const float *gram, *sums;  // (dims x dims) or none, (dims): what `add_left` has added
  float ridge;
  size_t dims;
  float *solution, *residual, *direction, *product;  // (dims) each, the product is scratch
};

// Rows of a dense matrix, and what each is multiplied by.
struct Terms {
  const size_t *places;  // where each row starts
  const float *values;
  size_t n;
};

// Of some numbers; 0 where there are none.
struct Moments {
  double mean = 0.0, deviation = 0.0;
};

// Numbers less their mean, times a weight.
struct Standardised {
  const float *numbers;
  float mean, times;
};

#define FUNCTIONS_OF_LANES                                                                                       \
  /* products[q][j] = sum over d of queries[q][d] * others[d][j], d ascending, `stride` values of others a d. */ \
  void multiply(const float *const *queries, const float *others, size_t dims, size_t stride, float *products); \
  /* LANES products times the lesser of two trusts, where there are any; a bit for each that reaches a bound. */   \
  uint32_t weigh(float *products, float own_trust, const float *trust, float bound);                             \
  /* The dot product of two vectors, `dims` being a multiple of LANES. */                                        \
  float dot(const float *one, const float *other, size_t dims);                                                  \
  /* Those of one vector and of the rows with some numbers. */                                                   \
  void dots(const float *one, const float *others, const int32_t *numbers, size_t n, size_t dims, float *products); \
  void solve(const LeastSquares &problem, float *solution);                                                      \
  void add_left(const Left &of, float *into);                                                                    \
  /* The squared length of the residual; 0 where there is no way on. */                                          \
  float begin(const Descent &of);                                                                                \
  float step(const Descent &of, float length);                                                                   \
  /* product = sum of value * row of `dense`, in the order of the values; rows start at `places`. */              \
  void gather(const Terms &of, const float *dense, size_t width, float *product);                                \
  /* Row of `total` += value * product, for each value. */                                                       \
  void scatter(const Terms &of, const float *product, size_t width, float *total);                               \
  Moments moments_of(const float *numbers, size_t n);                                                            \
  /* ranked[i] = sum over parts of times * (numbers[i] - mean) */                                                \
  void blend(const Standardised *parts, size_t n_parts, size_t n, float *ranked);                                \
  /* The greatest of each column of a table, `width` being a multiple of LANES; what is no number is none. */     \
  void greatest(const float *table, size_t n_rows, size_t width, float *most);                                   \
  /* Places of those of n numbers, a multiple of LANES, that reach a bound; how many. */                         \
  size_t reaching(const float *numbers, size_t n, float bound, int32_t *places);

namespace baseline {
FUNCTIONS_OF_LANES
}
namespace avx2 {
FUNCTIONS_OF_LANES
}
namespace avx512 {
FUNCTIONS_OF_LANES
}

// Registers that this machine has, and that there is code for.
enum class Width { BASELINE, AVX2, AVX512 };
constexpr std::array<const char *, 3> WIDTHS{"baseline", "AVX2", "AVX-512"};

// No wider than what ENGINE_LANES names, so that tests can compare widths.
inline Width width_of_this_machine() {
#ifdef HAS_WIDE_LANES
  const char *named = std::getenv("ENGINE_LANES");
  const std::string most = named ? named : "";
  __builtin_cpu_init();
  if (most == WIDTHS[0]) return Width::BASELINE;
  if (most != WIDTHS[1] && __builtin_cpu_supports("avx512f")) return Width::AVX512;
  if (__builtin_cpu_supports("avx2")) return Width::AVX2;
#endif
  return Width::BASELINE;
}

// Which of them this machine runs; a kernel asks once.
#ifdef HAS_WIDE_LANES
#define OF_THIS_MACHINE(function)                                      \
  (width_of_this_machine() == Width::AVX512 ? avx512::function         \
   : width_of_this_machine() == Width::AVX2 ? avx2::function           \
                                            : baseline::function)
#else
#define OF_THIS_MACHINE(function) (baseline::function)
#endif
