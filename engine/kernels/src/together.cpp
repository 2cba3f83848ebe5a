// Which items are taken together, by the users who took both.
#include <vector>

#include "arrays.h"
#include "best.h"
#include "kernels.h"
#include "votes.h"

namespace {

// What the users of one item took beside: a sum for each item, and which items have one.
class Sums {
 public:
  explicit Sums(size_t n_items) : sums_(n_items), seen_(n_items), touched_(n_items + 1) {}

  template <class I, class V> void add(const Rows<I, V> &rows, Span row, float weight, const Votes<V> &votes) {
    for (size_t at = row.first; at < row.last; ++at) {
      const size_t item = rows.column(at);
      touched_[n_touched_] = static_cast<int32_t>(item);
      n_touched_ += !seen_[item];
      seen_[item] = 1;
      sums_[item] += weight * votes(rows.data[at]);
    }
  }

  // Offer all but one of them, times their weights, and forget them.
  void offer_to(BestOf &best, const float *weights, int32_t but) {
    for (size_t i = 0; i < n_touched_; ++i) {
      const int32_t item = touched_[i];
      const float similarity = sums_[item] * weights[item];
      if (item != but && similarity > 0.0f) best.offer({similarity, item});
      sums_[item] = 0.0f, seen_[item] = 0;
    }
    n_touched_ = 0;
  }

 private:
  std::vector<float> sums_;
  std::vector<uint8_t> seen_;
  std::vector<int32_t> touched_;
  size_t n_touched_ = 0;
};

}  // namespace

void find_together(const AnyRows &any, const AnyRows &of_items, Vector<int32_t> items, Vector<float> user_weights,
                   Vector<float> item_weights, float liked_from, float disliked, OutTable<int32_t> ids,
                   OutTable<float> similarities) {
  const size_t n = items.shape(0), k = ids.shape(1), n_items = any.n_columns;
  require(of_items.indptr.shape(0) == n + 1, "users of other items");
  require(of_items.indices.shape(0) == of_items.data.shape(0), "columns and values of different lengths");
  require(of_items.indices.dtype() == nb::dtype<uint32_t>(), "users of a type that is not uint32");
  require(of_items.data.dtype() == any.data.dtype(), "values of different types");
  require(item_weights.shape(0) == n_items, "weights of other items");
  require(ids.shape(0) == n && similarities.shape(0) == n && similarities.shape(1) == k && k > 0,
          "lists of another shape");
  with_rows(any, [&](auto rows) {
    using Value = std::remove_const_t<std::remove_pointer_t<decltype(rows.data)>>;
    require(user_weights.shape(0) == rows.n_rows, "weights of other users");
    const auto users_of = of_items.template as<uint32_t, Value>();
    nb::gil_scoped_release released;
    const Votes<Value> votes({false, liked_from, disliked}, rows.step);
    Sums sums(n_items);
    BestOf best(k);
    for (size_t row = 0; row < n; ++row) {
      const Span users = users_of.row(row);
      for (size_t at = users.first; at < users.last; ++at) {
        const size_t user = within("user", users_of.indices[at], rows.n_rows);
        const float weight = user_weights.data()[user] * votes(users_of.data[at]);
        if (weight != 0.0f) sums.add(rows, rows.row(user), weight, votes);
      }
      sums.offer_to(best, item_weights.data(), items.data()[row]);
      size_t place = row * k;
      for (const Candidate &each : best.sorted())
        ids.data()[place] = each.number, similarities.data()[place++] = each.score;
      for (; place < (row + 1) * k; ++place) ids.data()[place] = -1, similarities.data()[place] = 0.0f;
      best.clear();
    }
  });
}
