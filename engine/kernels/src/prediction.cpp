// Ratings predicted: from a user's ratings of near items, and from products of vectors.
#include <vector>

#include "arrays.h"
#include "kernels.h"
#include "lanes.h"

void mean_near_residuals(const Lists &own, Vector<float> residuals, size_t n_items, const Lists &asked,
                         Table<int32_t> near, Table<float> similarities, double shrink, OutVector<float> means,
                         OutVector<bool> covered) {
  require(own.indptr.shape(0) > 0, "row pointers without an end");
  require(own.columns.shape(0) == residuals.shape(0), "items and residuals of different lengths");
  const size_t n_users = own.indptr.shape(0) - 1, k = near.shape(1);
  const int32_t *items = own.columns.data();
  require(similarities.shape(0) == near.shape(0) && similarities.shape(1) == k, "similarities of other items");
  require(means.shape(0) == asked.columns.shape(0) && covered.shape(0) == means.shape(0), "results of other pairs");
  asked.check(n_users);
  nb::gil_scoped_release released;
  std::vector<float> residual(n_items, 0.0f);
  std::vector<uint8_t> rated(n_items, 0);
  for (size_t user = 0; user < n_users; ++user) {
    const auto [first, last] = own.row(user);
    for (size_t at = first; at < last; ++at) {
      const size_t item = within("item", items[at], n_items);
      residual[item] = residuals.data()[at], rated[item] = 1;
    }
    const auto [start, stop] = asked.row(user);
    for (size_t pair = start; pair < stop; ++pair) {
      const size_t row = within("item asked for", asked.columns.data()[pair], near.shape(0)) * k;
      double sum = 0.0, weight = 0.0;
      for (size_t j = row; j < row + k; ++j) {
        const int32_t other = near.data()[j];
        if (other < 0 || !rated[within("near item", other, n_items)]) continue;
        const double similarity = static_cast<double>(similarities.data()[j]);
        sum += similarity * static_cast<double>(residual[other]);
        weight += similarity;
      }
      covered.data()[pair] = weight > 0.0;
      means.data()[pair] = weight > 0.0 ? static_cast<float>(sum / (weight + shrink)) : 0.0f;
    }
    for (size_t at = first; at < last; ++at) rated[items[at]] = 0;
  }
}

void products_of_pairs(Table<float> users, Table<float> items, const Lists &asked, OutVector<float> products) {
  const size_t n = users.shape(0), dims = users.shape(1);
  require(dims % LANES == 0 && items.shape(1) == dims, "vectors of other dimensions");
  require(products.shape(0) == asked.columns.shape(0), "results of other pairs");
  asked.check(n);
  nb::gil_scoped_release released;
  static const auto dot = OF_THIS_MACHINE(dot);
  for (size_t user = 0; user < n; ++user) {
    const auto [first, last] = asked.row(user);
    for (size_t pair = first; pair < last; ++pair) {
      const size_t item = within("item asked for", asked.columns.data()[pair], items.shape(0));
      products.data()[pair] = dot(users.data() + user * dims, items.data() + item * dims, dims);
    }
  }
}
