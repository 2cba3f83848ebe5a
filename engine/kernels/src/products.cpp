// Sparse rows times a dense matrix, and the transposed rows times that.
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
void widen(const Rows<I, V> &rows, size_t number, const int32_t *order, size_t width, Row &row) {
  const auto [first, last] = rows.row(number);
  row.rows.clear(), row.values.clear();
  for (size_t at = first; at < last; ++at) {
    size_t column = rows.column(at);
    if (order) column = within("place of a column", order[column], rows.n_columns);
    row.rows.push_back(column * width);
    row.values.push_back(rows.value(at));
  }
}

const int32_t *checked(const Vector<int32_t> &order, size_t n_columns) {
  if (order.shape(0) == 0 && n_columns > 0) return nullptr;
  require(order.shape(0) == n_columns, "places of other columns");
  return order.data();
}

}  // namespace

void add_gram_product(const AnyRows &any, Vector<int32_t> order, Vector<float> weights, Table<float> basis,
                      OutTable<float> total) {
  const size_t width = basis.shape(1);
  require(basis.shape(0) == any.n_columns && total.shape(0) == any.n_columns && total.shape(1) == width,
          "a basis of other columns");
  const int32_t *places = checked(order, any.n_columns);
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

void times_dense(const AnyRows &any, Vector<int32_t> order, Table<float> dense, OutTable<float> product) {
  const size_t width = dense.shape(1);
  require(dense.shape(0) == any.n_columns && product.shape(1) == width, "a matrix of other columns");
  const int32_t *places = checked(order, any.n_columns);
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
