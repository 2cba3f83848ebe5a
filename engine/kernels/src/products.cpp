// Sparse rows times a dense matrix, and the transposed rows times that.
#include <algorithm>
#include <utility>
#include <vector>

#include "arrays.h"
#include "kernels.h"
#include "lanes.h"

namespace {

// A row of ratings, widened.
struct Row {
  std::vector<size_t> rows;  // where the row of each column starts in the dense matrix
  std::vector<float> values;

  Terms terms() const { return {rows.data(), values.data(), values.size()}; }
};

template <class I, class V>
void widen(const Rows<I, V> &rows, size_t number, const Order &order, size_t width, Row &row) {
  const auto [first, last] = rows.row(number);
  row.rows.clear(), row.values.clear();
  for (size_t at = first; at < last; ++at) {
    row.rows.push_back(order.place(rows.column(at)) * width);
    row.values.push_back(rows.value(at));
  }
}

// All values by column, those of a column by row.
struct ByColumn {
  std::vector<size_t> starts, rows;  // where each column starts; where each value's row starts in a dense matrix
  std::vector<float> values;

  template <class I, class V> ByColumn(const Rows<I, V> &of, size_t width) : starts(of.n_columns + 1) {
    for (size_t i = 0; i < of.n_rows; ++i) {
      const auto [first, last] = of.row(i);
      for (size_t at = first; at < last; ++at) ++starts[of.column(at)];
    }
    size_t n = 0;
    for (size_t &start : starts) n += std::exchange(start, n);
    rows.resize(n), values.resize(n);
    for (size_t i = 0; i < of.n_rows; ++i) {
      const auto [first, last] = of.row(i);
      for (size_t at = first; at < last; ++at) {
        const size_t place = starts[of.column(at)]++;
        rows[place] = i * width, values[place] = of.value(at);
      }
    }
    std::rotate(starts.begin(), starts.end() - 1, starts.end());  // each has become the next
    starts[0] = 0;
  }
};

}  // namespace

void add_gram_product(const AnyRows &any, Vector<int32_t> order, Vector<float> weights, Table<float> basis,
                      OutTable<float> total) {
  const size_t width = basis.shape(1);
  require(basis.shape(0) == any.n_columns && total.shape(0) == any.n_columns && total.shape(1) == width,
          "a basis of other columns");
  const Order places(order, any.n_columns);
  with_rows(any, [&](auto rows) {
    require(weights.shape(0) == rows.n_rows, "weights of other rows");
    nb::gil_scoped_release released;
    static const auto gather = OF_THIS_MACHINE(gather);
    static const auto scatter = OF_THIS_MACHINE(scatter);
    Row row;
    std::vector<float> product(width);
    for (size_t i = 0; i < rows.n_rows; ++i) {
      widen(rows, i, places, width, row);
      gather(row.terms(), basis.data(), width, product.data());
      for (float &each : product) each *= weights.data()[i];
      scatter(row.terms(), product.data(), width, total.data());
    }
  });
}

void add_partial_sums(const AnyRows &any, Vector<int64_t> ends, Vector<int32_t> order, Vector<float> weights,
                      Table<float> basis, OutTable<float> total) {
  const size_t width = basis.shape(1), kept = total.shape(1);
  require(basis.shape(0) == any.n_columns && total.shape(0) == any.n_columns && kept <= width, "a basis of other columns");
  const Order places(order, any.n_columns);
  with_rows(any, [&](auto rows) {
    require(weights.shape(0) == rows.n_rows, "weights of other rows");
    nb::gil_scoped_release released;
    static const auto gather = OF_THIS_MACHINE(gather);
    std::vector<float> products(rows.n_rows * width);
    Row row;
    const ByColumn columns(rows, width);
    for (size_t i = 0; i < rows.n_rows; ++i) {
      float *product = products.data() + i * width;
      widen(rows, i, places, width, row);
      gather(row.terms(), basis.data(), width, product);
      for (size_t j = 0; j < width; ++j) product[j] *= weights.data()[i];
    }
    std::vector<float> sum(width);
    for (size_t column = 0; column < any.n_columns; ++column) {
      const size_t place = places.place(column);
      float *into = total.data() + place * kept;
      size_t first = columns.starts[column];
      const size_t last = columns.starts[column + 1];
      for (size_t part = 0; part < ends.shape(0) && first < last; ++part) {
        const size_t end = within("end of a part", ends.data()[part], rows.n_rows + 1) * width;
        const size_t next = std::lower_bound(columns.rows.begin() + first, columns.rows.begin() + last, end) - columns.rows.begin();
        if (next == first) continue;
        gather({columns.rows.data() + first, columns.values.data() + first, next - first}, products.data(), width, sum.data());
        for (size_t j = 0; j < kept; ++j) into[j] += sum[j];
        first = next;
      }
    }
  });
}

void times_dense(const AnyRows &any, Vector<int32_t> order, Table<float> dense, OutTable<float> product) {
  const size_t width = dense.shape(1);
  require(dense.shape(0) == any.n_columns && product.shape(1) == width, "a matrix of other columns");
  const Order places(order, any.n_columns);
  with_rows(any, [&](auto rows) {
    require(product.shape(0) == rows.n_rows, "a product of other rows");
    nb::gil_scoped_release released;
    static const auto gather = OF_THIS_MACHINE(gather);
    Row row;
    for (size_t i = 0; i < rows.n_rows; ++i) {
      widen(rows, i, places, width, row);
      gather(row.terms(), dense.data(), width, product.data() + i * width);
    }
  });
}
