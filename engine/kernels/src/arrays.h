// Arrays as they come from NumPy, and rows of a sparse matrix in the narrow types that they are stored in.
//
// Types, order and number of dimensions are checked by nanobind when a kernel is called. Sizes are checked here, once a
// call; row pointers and column numbers as they are used, so that no array can lead a kernel out of another.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace nb = nanobind;

template <class T> using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Table = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using OutVector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using OutTable = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyVector = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

inline void require(bool holds, const char *what) {
  if (!holds) throw std::invalid_argument(what);
}

// A number out of the range it indexes.
[[noreturn]] inline void out_of_range(const char *what, int64_t number, int64_t size) {
  throw std::out_of_range(std::string(what) + " " + std::to_string(number) + " of " + std::to_string(size));
}

inline size_t within(const char *what, int64_t number, size_t size) {
  if (number < 0 || static_cast<size_t>(number) >= size) out_of_range(what, number, static_cast<int64_t>(size));
  return static_cast<size_t>(number);
}

struct Span {
  size_t first, last;
};

// Where a row's values are; `n` values there are.
template <class P> Span span_of(const P *indptr, size_t row, size_t n) {
  const int64_t first = static_cast<int64_t>(indptr[row]), last = static_cast<int64_t>(indptr[row + 1]);
  if (first < 0 || last < first || static_cast<size_t>(last) > n)
    throw std::out_of_range("row pointers that are not ascending, or lead out of the values");
  return {static_cast<size_t>(first), static_cast<size_t>(last)};
}

inline void prefetch_lines(const void *from, size_t n_bytes) {
  constexpr size_t LINE = 64;
  for (size_t at = 0; at < n_bytes; at += LINE) __builtin_prefetch(static_cast<const char *>(from) + at);
}

// Rows of a sparse matrix. Values are multiples of `step`.
template <class I, class V> struct Rows {
  const int64_t *indptr;
  const I *indices;
  const V *data;
  size_t n_rows, n_values, n_columns;
  float step;

  Span row(size_t number) const { return span_of(indptr, number, n_values); }

  // Let a row, and where the row after it is written down, be on their way: rows are asked for from here and there.
  void prefetch(int64_t number, int64_t after) const {
    constexpr size_t LINE = 64, LINES = 4;  // what comes after these, the processor fetches by itself
    if (after >= 0 && static_cast<size_t>(after) < n_rows) __builtin_prefetch(indptr + after);
    if (number < 0 || static_cast<size_t>(number) >= n_rows) return;
    const auto [first, last] = row(static_cast<size_t>(number));
    prefetch_lines(indices + first, std::min((last - first) * sizeof(I), LINES * LINE));
    prefetch_lines(data + first, std::min((last - first) * sizeof(V), LINES * LINE));
  }

  // All columns of a row, seen to be within: cheaper than a look at each when it is used.
  const I *columns(Span row) const {
    using Number = std::make_unsigned_t<I>;
    Number greatest = 0;
    for (size_t at = row.first; at < row.last; ++at) greatest = std::max(greatest, static_cast<Number>(indices[at]));
    if (row.first < row.last && greatest >= n_columns)
      for (size_t at = row.first; at < row.last; ++at) column(at);  // says which
    return indices + row.first;
  }

  size_t column(size_t at) const { return within("column", static_cast<int64_t>(indices[at]), n_columns); }
  float value(size_t at) const { return static_cast<float>(data[at]) * step; }
};

// The rows of a dense matrix that columns have: the row of each column's own number where no other is said.
class Order {
 public:
  Order(const Vector<int32_t> &order, size_t n_columns)
      : places_(order.shape(0) == 0 && n_columns > 0 ? nullptr : order.data()), n_columns_(n_columns) {
    require(!places_ || order.shape(0) == n_columns, "places of other columns");
  }

  size_t place(size_t column) const { return places_ ? within("place of a column", places_[column], n_columns_) : column; }

 private:
  const int32_t *places_;
  size_t n_columns_;
};

// Rows before their types are known.
struct AnyRows {
  Vector<int64_t> indptr;
  AnyVector indices, data;
  size_t n_columns;
  float step;

  template <class I, class V> Rows<I, V> as() const {
    return {indptr.data(), static_cast<const I *>(indices.data()), static_cast<const V *>(data.data()),
            indptr.shape(0) - 1, indices.shape(0), n_columns, step};
  }
};

template <class I, class Work> auto with_values(const AnyRows &rows, Work work) {
  if (rows.data.dtype() == nb::dtype<uint8_t>()) return work(rows.as<I, uint8_t>());
  if (rows.data.dtype() == nb::dtype<float>()) return work(rows.as<I, float>());
  if (rows.data.dtype() == nb::dtype<double>()) return work(rows.as<I, double>());
  throw std::invalid_argument("values of a type that no matrix is stored in");
}

// Do `work` with the rows in the types that they have.
template <class Work> auto with_rows(const AnyRows &rows, Work work) {
  require(rows.indptr.shape(0) > 0, "row pointers without an end");
  require(rows.indices.shape(0) == rows.data.shape(0), "columns and values of different lengths");
  if (rows.indices.dtype() == nb::dtype<uint8_t>()) return with_values<uint8_t>(rows, work);
  if (rows.indices.dtype() == nb::dtype<uint16_t>()) return with_values<uint16_t>(rows, work);
  if (rows.indices.dtype() == nb::dtype<uint32_t>()) return with_values<uint32_t>(rows, work);
  if (rows.indices.dtype() == nb::dtype<int32_t>()) return with_values<int32_t>(rows, work);
  throw std::invalid_argument("columns of a type that no matrix is stored in");
}

// Columns of rows, without values; nothing where there are none.
struct Lists {
  Vector<int64_t> indptr;
  Vector<int32_t> columns;

  Span row(size_t number) const { return span_of(indptr.data(), number, columns.shape(0)); }
  void check(size_t n_rows) const { require(indptr.shape(0) == n_rows + 1, "lists of another number of users"); }
};
