// Alternating least squares: one side's vectors from the other's.
#include <algorithm>
#include <vector>

#include "arrays.h"
#include "kernels.h"
#include "lanes.h"

void solve_rows(const AnyRows &any, Vector<float> targets, Vector<float> weights, Vector<float> ridges,
                Table<float> others, Table<float> gram, size_t steps, OutTable<float> solutions) {
  const size_t dims = others.shape(1);
  require(dims % LANES == 0 && dims > 0, "dimensions that are no multiple of 16");
  require(others.shape(0) == any.n_columns, "vectors of other columns");
  const bool has_gram = gram.shape(0) > 0, weighed = weights.shape(0) > 0;
  require(!has_gram || (gram.shape(0) == dims && gram.shape(1) == dims), "vectors of other dimensions");
  require(solutions.shape(1) == dims, "vectors of other dimensions");
  with_rows(any, [&](auto rows) {
    require(solutions.shape(0) == rows.n_rows && ridges.shape(0) == rows.n_rows, "solutions of other rows");
    require(targets.shape(0) == any.indices.shape(0), "targets of other values");
    require(!weighed || weights.shape(0) == any.indices.shape(0), "weights of other values");
    nb::gil_scoped_release released;
    static const auto solve = solve_of_this_machine();
    std::vector<size_t> places;
    std::vector<float> scratch(3 * dims);
    for (size_t row = 0; row < rows.n_rows; ++row) {
      const auto [first, last] = rows.row(row);
      places.clear();
      for (size_t at = first; at < last; ++at) places.push_back(rows.column(at) * dims);
      float *solution = solutions.data() + row * dims;
      if (places.empty()) {
        std::fill(solution, solution + dims, 0.0f);
        continue;
      }
      solve({has_gram ? gram.data() : nullptr, others.data(), dims, steps, places.data(), targets.data() + first,
             weighed ? weights.data() + first : nullptr, places.size(), ridges.data()[row], scratch.data(), scratch.data() + dims, scratch.data() + 2 * dims},
            solution);
    }
  });
}
