// Alternating least squares: one side's vectors from the other's.
#include <algorithm>
#include <vector>

#include "arrays.h"
#include "kernels.h"
#include "lanes.h"

void solve_rows(const AnyRows &any, Vector<float> targets, Vector<float> weights, Vector<float> ridges,
                Table<float> others, Table<float> gram, size_t steps, Vector<int32_t> order, OutTable<float> solutions) {
  const size_t dims = others.shape(1);
  require(dims % LANES == 0 && dims > 0, "dimensions that are no multiple of 16");
  require(others.shape(0) == any.n_columns, "vectors of other columns");
  const Order columns(order, any.n_columns);
  const bool has_gram = gram.shape(0) > 0, weighed = weights.shape(0) > 0;
  require(!has_gram || (gram.shape(0) == dims && gram.shape(1) == dims), "vectors of other dimensions");
  require(solutions.shape(1) == dims, "vectors of other dimensions");
  with_rows(any, [&](auto rows) {
    require(solutions.shape(0) == rows.n_rows && ridges.shape(0) == rows.n_rows, "solutions of other rows");
    require(targets.shape(0) == any.indices.shape(0), "targets of other values");
    require(!weighed || weights.shape(0) == any.indices.shape(0), "weights of other values");
    nb::gil_scoped_release released;
    static const auto solve = OF_THIS_MACHINE(solve);
    std::vector<size_t> places;
    std::vector<float> scratch(3 * dims);
    for (size_t row = 0; row < rows.n_rows; ++row) {
      const auto [first, last] = rows.row(row);
      places.clear();
      for (size_t at = first; at < last; ++at) places.push_back(columns.place(rows.column(at)) * dims);
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

void add_left(const AnyRows &any, Vector<float> targets, Vector<float> weights, Table<float> row_vectors,
              Table<float> column_vectors, Vector<int32_t> order, OutTable<float> into) {
  const size_t dims = row_vectors.shape(1);
  require(dims % LANES == 0 && dims > 0, "dimensions that are no multiple of 16");
  require(column_vectors.shape(0) == any.n_columns && into.shape(0) == any.n_columns, "vectors of other columns");
  require(column_vectors.shape(1) == dims && into.shape(1) == dims, "vectors of other dimensions");
  const Order columns(order, any.n_columns);
  const bool aims = targets.shape(0) > 0, weighed = weights.shape(0) > 0;
  with_rows(any, [&](auto rows) {
    require(row_vectors.shape(0) == rows.n_rows, "vectors of other rows");
    require(!aims || targets.shape(0) == any.indices.shape(0), "targets of other values");
    require(!weighed || weights.shape(0) == any.indices.shape(0), "weights of other values");
    nb::gil_scoped_release released;
    static const auto add = OF_THIS_MACHINE(add_left);
    std::vector<size_t> places;
    for (size_t row = 0; row < rows.n_rows; ++row) {
      const auto [first, last] = rows.row(row);
      places.clear();
      for (size_t at = first; at < last; ++at) places.push_back(columns.place(rows.column(at)) * dims);
      add({row_vectors.data() + row * dims, column_vectors.data(), dims, places.data(),
           aims ? targets.data() + first : nullptr, weighed ? weights.data() + first : nullptr, places.size()},
          into.data());
    }
  });
}

// Do `work` with what each row of the tables makes of a descent, its number beside.
template <class Work>
static void with_descents(Table<float> sums, Table<float> gram, Vector<float> ridges, OutTable<float> solutions,
                          OutTable<float> residuals, OutTable<float> directions, OutVector<float> lengths, Work work) {
  const size_t n = solutions.shape(0), dims = solutions.shape(1);
  require(dims % LANES == 0 && dims > 0, "dimensions that are no multiple of 16");
  const bool has_gram = gram.shape(0) > 0;
  require(!has_gram || (gram.shape(0) == dims && gram.shape(1) == dims), "vectors of other dimensions");
  require(sums.shape(0) == n && residuals.shape(0) == n && directions.shape(0) == n && ridges.shape(0) == n &&
              lengths.shape(0) == n, "vectors of other rows");
  require(sums.shape(1) == dims && residuals.shape(1) == dims && directions.shape(1) == dims, "vectors of other dimensions");
  nb::gil_scoped_release released;
  std::vector<float> product(dims);
  for (size_t row = 0; row < n; ++row) {
    const size_t at = row * dims;
    work(row, Descent{has_gram ? gram.data() : nullptr, sums.data() + at, ridges.data()[row], dims, solutions.data() + at,
                      residuals.data() + at, directions.data() + at, product.data()});
  }
}

void begin_rows(Table<float> sums, Table<float> gram, Vector<float> ridges, OutTable<float> solutions,
                OutTable<float> residuals, OutTable<float> directions, OutVector<float> lengths) {
  static const auto begin = OF_THIS_MACHINE(begin);
  with_descents(sums, gram, ridges, solutions, residuals, directions, lengths,
                [&](size_t row, const Descent &of) { lengths.data()[row] = begin(of); });
}

void step_rows(Table<float> sums, Table<float> gram, Vector<float> ridges, OutTable<float> solutions,
               OutTable<float> residuals, OutTable<float> directions, OutVector<float> lengths) {
  static const auto step = OF_THIS_MACHINE(step);
  with_descents(sums, gram, ridges, solutions, residuals, directions, lengths, [&](size_t row, const Descent &of) {
    lengths.data()[row] = step(of, lengths.data()[row]);
  });
}
