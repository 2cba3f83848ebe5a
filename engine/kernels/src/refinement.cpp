// Alternating least squares: one side's vectors from the other's.
#include <algorithm>
#include <vector>

#include "arrays.h"
#include "kernels.h"
#include "lanes.h"

void solve_rows(const AnyRows &any, float liked_from, float disliked, Table<float> others, Table<float> gram,
                float regularisation, float unseen, size_t steps, OutTable<float> solutions) {
  const size_t dims = others.shape(1);
  require(dims % LANES == 0 && dims > 0, "dimensions that are no multiple of 16");
  require(others.shape(0) == any.n_columns, "vectors of other columns");
  require(gram.shape(0) == dims && gram.shape(1) == dims && solutions.shape(1) == dims, "vectors of other dimensions");
  with_rows(any, [&](auto rows) {
    require(solutions.shape(0) == rows.n_rows, "solutions of other rows");
    nb::gil_scoped_release released;
    static const auto solve = solve_of_this_machine();
    std::vector<size_t> places;
    std::vector<float> preferences, scratch(3 * dims);
    for (size_t row = 0; row < rows.n_rows; ++row) {
      const auto [first, last] = rows.row(row);
      places.clear(), preferences.clear();
      for (size_t at = first; at < last; ++at) {
        places.push_back(rows.column(at) * dims);
        preferences.push_back(rows.value(at) >= liked_from ? 1.0f : disliked);
      }
      float *solution = solutions.data() + row * dims;
      if (places.empty()) {
        std::fill(solution, solution + dims, 0.0f);
        continue;
      }
      const float weight = regularisation * (static_cast<float>(places.size()) + unseen);
      solve({gram.data(), others.data(), dims, steps, places.data(), preferences.data(), places.size(), weight,
             scratch.data(), scratch.data() + dims, scratch.data() + 2 * dims},
            solution);
    }
  });
}
