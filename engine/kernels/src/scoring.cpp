// Items scored and ranked for users, straight from the stored rows.
#include <array>
#include <cmath>
#include <functional>
#include <optional>

#include "arrays.h"
#include "best.h"
#include "kernels.h"
#include "lanes.h"
#include "votes.h"

namespace {

// Parts of a blend.
constexpr size_t PRODUCTS = 0, VOTES = 1, TOGETHER = 2, POPULARITY = 3, PARTS = 4;
constexpr float NO_NUMBER = std::numeric_limits<float>::quiet_NaN();

// Scores of one user: a number for each item, and which items have one. Numbers that no sum is tell what else there is to
// say of an item, so that as little as can be is fetched from here and there. What goes together with the user's items is
// another number, by itself, since few ask for it.
class Scores {
  static constexpr float UNSEEN = -0.0f;  // what is added to it stays as it is, and no sum is it: see `add`
  static constexpr uint32_t TAKEN = 0x7fc00001, POPULAR = 0x7fc00002;  // no numbers; a sum that is none has other bits

 public:
  Scores(size_t n_items, bool has_together)
      : sums_(n_items, UNSEEN), touched_(n_items + 1), together_(has_together ? n_items : 0) {}

  // Add to items of a row: `value` of each of its `n` places.
  template <class I, class Value> void add(const I *items, size_t n, Value value) {
    float *sums = sums_.data();  // all in registers while the row is gone through
    int32_t *touched = touched_.data();
    size_t n_touched = n_touched_;
    for (size_t i = 0; i < n; ++i) {
      float &sum = sums[items[i]];
      // Without a branch, which would be guessed wrong half of the time: what is noted of an item seen before is
      // written over by the next.
      touched[n_touched] = static_cast<int32_t>(items[i]);
      n_touched += is(sum, UNSEEN);
      sum += value(i) + 0.0f;  // minus zero becomes zero
    }
    n_touched_ = n_touched;
  }

  // The same, to what goes together with the user's items.
  template <class I, class Value> void add_together(const I *items, size_t n, Value value) {
    for (size_t i = 0; i < n; ++i) touch(items[i]), together_[items[i]] += value(i);
  }

  void times(const float *factor) {
    for (size_t i = 0; i < n_touched_; ++i) sums_[touched_[i]] *= factor[touched_[i]];
  }

  // After all is added.
  void take(size_t item) {
    touch(item);
    sums_[item] = of_bits(TAKEN);
  }

  // After all is taken: the first `n` of an order that are not taken are candidates, whatever their sum.
  void add_popular(Vector<int32_t> by_popularity, size_t n) {
    for (size_t next = 0; next < by_popularity.shape(0) && n > 0; ++next) {
      const size_t item = within("popular item", by_popularity.data()[next], sums_.size());
      if (is(sums_[item], of_bits(TAKEN))) continue;
      touch(item);
      if (sums_[item] == 0.0f) sums_[item] = of_bits(POPULAR);
      --n;
    }
  }

  float of(size_t item) const { return is(sums_[item], of_bits(POPULAR)) ? 0.0f : sums_[item] + 0.0f; }
  float together(size_t item) const { return together_.empty() ? 0.0f : together_[item]; }

  // Go through the candidates: consume(item, score).
  template <class Consume> void for_candidates(Consume consume) const {
    for (size_t i = 0; i < n_touched_; ++i) {
      const float sum = sums_[touched_[i]];
      if (is(sum, of_bits(TAKEN))) continue;
      if (is(sum, of_bits(POPULAR))) consume(touched_[i], 0.0f);
      else if (sum != 0.0f || together(static_cast<size_t>(touched_[i])) != 0.0f) consume(touched_[i], sum);
    }
  }

  bool has_candidates() const {
    bool found = false;
    for_candidates([&](int32_t, float) { found = true; });
    return found;
  }

  void clear() {
    for (size_t i = 0; i < n_touched_; ++i) sums_[touched_[i]] = UNSEEN;
    if (!together_.empty())
      for (size_t i = 0; i < n_touched_; ++i) together_[touched_[i]] = 0.0f;
    n_touched_ = 0;
  }

 private:
  static bool is(float one, float other) { return std::memcmp(&one, &other, sizeof one) == 0; }
  static float of_bits(uint32_t bits) {
    float found;
    std::memcpy(&found, &bits, sizeof found);
    return found;
  }

  // An item counts as seen, with a sum of 0 if there is none yet.
  void touch(size_t item) {
    touched_[n_touched_] = static_cast<int32_t>(item);
    n_touched_ += is(sums_[item], UNSEEN);
    sums_[item] += 0.0f;
  }

  std::vector<float> sums_;
  std::vector<int32_t> touched_;
  std::vector<float> together_;
  size_t n_touched_ = 0;
};

constexpr size_t ROWS_AHEAD = 3;

struct Asked {
  Table<int32_t> neighbors;
  Table<float> weights;
  Vector<float> factor;
  Vote vote;
};

template <class I, class V>
void add_votes(Scores &scores, const Rows<I, V> &rows, const Asked &asked, const Votes<V> &votes, size_t user) {
  const size_t k = asked.neighbors.shape(1);
  const int32_t *neighbors = asked.neighbors.data() + user * k;
  const float *weights = asked.weights.data() + user * k;
  for (size_t j = 0; j < k; ++j) {
    rows.prefetch(j + ROWS_AHEAD < k ? neighbors[j + ROWS_AHEAD] : -1, j + 2 * ROWS_AHEAD < k ? neighbors[j + 2 * ROWS_AHEAD] : -1);
    if (neighbors[j] < 0) continue;
    const Span row = rows.row(within("neighbour", neighbors[j], rows.n_rows));
    const float weight = weights[j];
    const V *data = rows.data + row.first;
    scores.add(rows.columns(row), row.last - row.first, [&](size_t i) { return weight * votes(data[i]); });
  }
  scores.times(asked.factor.data());
}

template <class I>
void add_near(Scores &scores, const Rows<I, float> &near, const Lists &liked, const float *shares, size_t user) {
  const auto [start, stop] = liked.row(user);
  const int32_t *items = liked.columns.data();
  for (size_t j = start; j < stop; ++j) {
    near.prefetch(j + ROWS_AHEAD < stop ? items[j + ROWS_AHEAD] : -1, j + 2 * ROWS_AHEAD < stop ? items[j + 2 * ROWS_AHEAD] : -1);
    const Span row = near.row(within("liked item", items[j], near.n_rows));
    const float share = shares[j];
    const float *data = near.data + row.first;
    scores.add(near.columns(row), row.last - row.first, [&](size_t i) { return share * data[i]; });
  }
}

template <class I>
void add_together(Scores &scores, const Rows<I, uint8_t> &together, const Lists &own, const float *values, size_t user) {
  const auto [start, stop] = own.row(user);
  const int32_t *items = own.columns.data();
  for (size_t j = start; j < stop; ++j) {
    together.prefetch(j + ROWS_AHEAD < stop ? items[j + ROWS_AHEAD] : -1, j + 2 * ROWS_AHEAD < stop ? items[j + 2 * ROWS_AHEAD] : -1);
    const Span row = together.row(within("own item", items[j], together.n_rows));
    const float value = values[j];
    const uint8_t *data = together.data + row.first;
    scores.add_together(together.columns(row), row.last - row.first, [&](size_t i) { return value * static_cast<float>(data[i]); });
  }
}

// How the numbers of a user's candidates are standardised: less their mean, over their standard deviation.
struct Standard {
  float mean = 0.0f, scale = 0.0f;  // a scale of 0: the number is the same for all

  static Standard of(const std::vector<float> &numbers, size_t n) {
    static const auto moments_of = OF_THIS_MACHINE(moments_of);
    const Moments moments = moments_of(numbers.data(), n);
    return {static_cast<float>(moments.mean), moments.deviation > 1e-12 ? static_cast<float>(1.0 / moments.deviation) : 0.0f};
  }
};

// Which items may be in a list: all, or those that are marked.
struct Offered {
  Vector<uint8_t> marks;
  bool operator()(size_t item) const { return marks.shape(0) == 0 || marks.data()[item] != 0; }
};

// Candidates by the products of vectors, by their votes, by what goes together with the user's items and by their
// popularity, each standardised and weighted: over all of them, whatever is offered.
class Blend {
 public:
  Blend(size_t n_items, size_t k, Table<float> users, Table<float> items, Vector<float> popularity, Table<float> weights)
      : k_(k), users_(users), items_(items), popularity_(popularity), weights_(weights) {
    for (size_t row = 0; row < weights.shape(0); ++row)
      for (size_t part = 0; part < PARTS; ++part) weighs_[part] |= weights.data()[PARTS * row + part] != 0.0f;
    if (weights.shape(0) == 0) return;
    most_.resize((2 * k + LANES - 1) / LANES * LANES);
    candidates_.resize(n_items), ranked_.resize(n_items + most_.size()), places_.resize(ranked_.size());
    for (auto &part : parts_) part.resize(n_items);
  }

  // Look at a user's candidates; without `own` ones, at their popularity alone.
  void look(const Scores &scores, size_t user, bool own) {
    n_ = 0;
    const auto asked = [&](size_t part) { return own ? weighs_[part] : part == POPULARITY; };
    scores.for_candidates([&](int32_t item, float score) {
      parts_[VOTES][n_] = score;
      candidates_[n_++] = item;
    });
    if (asked(PRODUCTS)) multiply(user);
    for (size_t i = 0; asked(TOGETHER) && i < n_; ++i) parts_[TOGETHER][i] = scores.together(static_cast<size_t>(candidates_[i]));
    for (size_t i = 0; asked(POPULARITY) && i < n_; ++i) parts_[POPULARITY][i] = popularity_.data()[candidates_[i]];
    for (size_t part = 0; part < PARTS; ++part)
      standards_[part] = asked(part) ? Standard::of(parts_[part], n_) : Standard{};
  }

  // Offer them with the weights of a row; or, without `own` ones, by popularity alone.
  void offer_to(BestOf &best, const Offered &offered, size_t row, bool own) {
    static const auto blend = OF_THIS_MACHINE(blend);
    static const auto reaching = OF_THIS_MACHINE(reaching);
    const float *weights = weights_of(row, own);
    std::array<Standardised, PARTS> telling;
    size_t n_telling = 0;
    for (size_t part = 0; part < PARTS; ++part)
      if (tells(part, weights)) telling[n_telling++] = {parts_[part].data(), standards_[part].mean, times(part, weights)};
    blend(telling.data(), n_telling, n_, ranked_.data());
    for (size_t i = 0; i < n_; ++i)
      if (!offered(static_cast<size_t>(candidates_[i]))) ranked_[i] = NO_NUMBER;
    const size_t filled_up = (n_ + most_.size() - 1) / most_.size() * most_.size();
    std::fill(ranked_.begin() + static_cast<std::ptrdiff_t>(n_), ranked_.begin() + static_cast<std::ptrdiff_t>(filled_up), NO_NUMBER);
    const size_t n_reaching = reaching(ranked_.data(), filled_up, bound(filled_up), places_.data());
    for (size_t i = 0; i < n_reaching; ++i) {
      const size_t at = static_cast<size_t>(places_[i]);
      best.offer({ranked_[at], candidates_[at]});
    }
  }

  // What each part adds to the score of an item of the user looked at; nothing, not even 0, where it has no weight or
  // does not tell candidates apart.
  void explain(const Scores &scores, size_t user, int32_t item, size_t row, bool own, float *contributions) const {
    const float *weights = weights_of(row, own);
    const size_t number = static_cast<size_t>(item);
    const float parts[PARTS] = {product(user, item), scores.of(number), scores.together(number), popularity_.data()[item]};
    for (size_t part = 0; part < PARTS; ++part)
      if (tells(part, weights)) contributions[part] = times(part, weights) * (parts[part] - standards_[part].mean);
  }

 private:
  // What the best k reach, or less: the k-th of the greatest of each of more than k parts of the candidates.
  float bound(size_t filled_up) {
    static const auto greatest = OF_THIS_MACHINE(greatest);
    if (filled_up <= most_.size()) return -std::numeric_limits<float>::infinity();
    greatest(ranked_.data(), filled_up / most_.size(), most_.size(), most_.data());
    const auto last = most_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
    std::nth_element(most_.begin(), last, most_.end(), std::greater<float>());
    return *last;
  }

  void multiply(size_t user) {
    static const auto dots = OF_THIS_MACHINE(dots);
    const size_t dims = items_.shape(1);
    if (dims == 0) std::fill_n(parts_[PRODUCTS].begin(), n_, 0.0f);
    else dots(users_.data() + user * dims, items_.data(), candidates_.data(), n_, dims, parts_[PRODUCTS].data());
  }

  const float *vector_of(int32_t item) const { return items_.data() + static_cast<size_t>(item) * items_.shape(1); }

  float product(size_t user, int32_t item) const {
    static const auto dot = OF_THIS_MACHINE(dot);
    const size_t dims = items_.shape(1);
    return dims ? dot(users_.data() + user * dims, vector_of(item), dims) : 0.0f;
  }

  const float *weights_of(size_t row, bool own) const {
    static constexpr float ALONE[PARTS] = {0.0f, 0.0f, 0.0f, 1.0f};
    return own ? weights_.data() + PARTS * row : ALONE;
  }

  // Whether a part tells candidates apart, and counts.
  bool tells(size_t part, const float *weights) const { return weights[part] != 0.0f && standards_[part].scale != 0.0f; }
  float times(size_t part, const float *weights) const { return weights[part] * standards_[part].scale; }

  size_t k_;
  Table<float> users_, items_;
  Vector<float> popularity_;
  Table<float> weights_;
  std::array<bool, PARTS> weighs_{};  // in any row
  size_t n_ = 0;
  std::vector<int32_t> candidates_;
  std::array<std::vector<float>, PARTS> parts_;  // of each candidate
  std::vector<float> ranked_;  // filled up to a whole number of parts of as many as `most_` has
  std::vector<int32_t> places_;  // of those that may be among the best
  std::vector<float> most_;
  std::array<Standard, PARTS> standards_;
};

// Write down the best, and empty it; `scored`: whether their scores mean anything, which else are no numbers.
void write_best(BestOf &best, int32_t *items, float *ranked, size_t k, bool scored = true) {
  size_t place = 0;
  for (const Candidate &each : best.sorted()) items[place] = each.number, ranked[place++] = scored ? each.score : NO_NUMBER;
  for (; place < k; ++place) items[place] = -1, ranked[place] = 0.0f;
  best.clear();
}

template <class Index, class Value> void check_similarities(const std::optional<AnyRows> &items) {
  if (!items) return;
  require(items->indices.dtype() == nb::dtype<Index>() && items->data.dtype() == nb::dtype<Value>(),
          "similarities of another type, or columns of another than the ratings have");
  require(items->indices.shape(0) == items->data.shape(0), "columns and values of different lengths");
  require(items->indptr.shape(0) > 0, "row pointers without an end");
}

void take_all(Scores &scores, const Lists &taken, size_t user, size_t n_items) {
  const auto [first, last] = taken.row(user);
  for (size_t at = first; at < last; ++at) scores.take(within("taken item", taken.columns.data()[at], n_items));
}

}  // namespace

void rank_items(const AnyRows &any, Table<int32_t> neighbors, Table<float> weights, Vector<float> factor, bool is_rating,
                float liked_from, float disliked, const std::optional<AnyRows> &near, const Lists &liked,
                Vector<float> shares, const std::optional<AnyRows> &together, const Lists &own_items,
                Vector<float> own_values, Table<float> user_vectors, Table<float> item_vectors, Vector<float> popularity,
                Vector<int32_t> by_popularity, size_t n_popular, Table<float> blends, const Lists &taken, const Lists &wanted,
                Vector<uint8_t> offered, OutTable<int32_t> items, OutTable<float> ranked, OutVector<float> found,
                OutTable<float> contributions, OutVector<float> votes_of_listed) {
  const size_t n = neighbors.shape(0), n_items = any.n_columns, k = items.shape(1);
  require(weights.shape(0) == n && weights.shape(1) == neighbors.shape(1), "weights of other neighbours");
  require(factor.shape(0) == n_items, "factors of other items");
  const size_t n_blends = blends.shape(0), n_lists = n_blends ? n_blends : 1;
  require(items.shape(0) == n * n_lists && ranked.shape(0) == n * n_lists && ranked.shape(1) == k && k > 0,
          "lists of another shape");
  const bool explained = contributions.shape(0) > 0;
  require(!explained || (n_blends > 0 && contributions.shape(0) == n * n_lists * k && contributions.shape(1) == PARTS),
          "contributions of other items, or parts");
  require(votes_of_listed.shape(0) == contributions.shape(0), "votes of other items");
  require(shares.shape(0) == liked.columns.shape(0), "shares of other items");
  require(found.shape(0) == wanted.columns.shape(0), "scores of other items");
  require(!near || near->n_columns == n_items, "similarities of other items");
  require(offered.shape(0) == 0 || offered.shape(0) == n_items, "marks of other items");
  require(own_values.shape(0) == own_items.columns.shape(0), "values of other items");
  require(!together || together->n_columns == n_items, "what goes together with other items");
  liked.check(n), own_items.check(n), taken.check(n), wanted.check(n);
  const bool blended = n_blends > 0;
  require(!blended || (blends.shape(1) == PARTS && popularity.shape(0) == n_items), "weights of other parts");
  require(!blended || item_vectors.shape(1) == 0 ||
              (item_vectors.shape(0) == n_items && user_vectors.shape(0) == n &&
               user_vectors.shape(1) == item_vectors.shape(1) && item_vectors.shape(1) % LANES == 0),
          "vectors of other users or items");
  const Asked asked{neighbors, weights, factor, {is_rating, liked_from, disliked}};
  with_rows(any, [&](auto rows) {
    using Index = std::remove_const_t<std::remove_pointer_t<decltype(rows.indices)>>;
    using Value = std::remove_const_t<std::remove_pointer_t<decltype(rows.data)>>;
    check_similarities<Index, float>(near);
    check_similarities<Index, uint8_t>(together);
    nb::gil_scoped_release released;
    const Votes<Value> votes(asked.vote, rows.step);
    Scores scores(n_items, together.has_value());
    BestOf best(k);
    Blend blend(n_items, k, user_vectors, item_vectors, popularity, blends);
    const Offered is_offered{offered};
    for (size_t user = 0; user < n; ++user) {
      add_votes(scores, rows, asked, votes, user);
      if (near) add_near(scores, near->template as<Index, float>(), liked, shares.data(), user);
      if (together)
        add_together(scores, together->template as<Index, uint8_t>(), own_items, own_values.data(), user);
      const auto [first, last] = wanted.row(user);
      for (size_t at = first; at < last; ++at)
        found.data()[at] = scores.of(within("wanted item", wanted.columns.data()[at], n_items));
      take_all(scores, taken, user, n_items);
      int32_t *list = items.data() + user * n_lists * k;
      float *score_list = ranked.data() + user * n_lists * k;
      if (blended) {
        const bool own = scores.has_candidates();
        scores.add_popular(by_popularity, n_popular);
        blend.look(scores, user, own);
        for (size_t row = 0; row < n_blends; ++row) {
          blend.offer_to(best, is_offered, row, own);
          write_best(best, list + row * k, score_list + row * k, k, own);
          if (!explained) continue;
          for (size_t place = 0; place < k && list[row * k + place] >= 0; ++place) {
            const int32_t item = list[row * k + place];
            const size_t at = (user * n_lists + row) * k + place;
            blend.explain(scores, user, item, row, own, contributions.data() + at * PARTS);
            votes_of_listed.data()[at] = scores.of(static_cast<size_t>(item));
          }
        }
      } else {
        scores.for_candidates([&](int32_t item, float score) {
          if (is_offered(static_cast<size_t>(item))) best.offer({score, item});
        });
        write_best(best, list, score_list, k);
      }
      scores.clear();
    }
  });
}

void rank_popular(Vector<int32_t> by_popularity, size_t n_items, const Lists &taken, OutTable<int32_t> items) {
  const size_t n = items.shape(0), k = items.shape(1);
  taken.check(n);
  nb::gil_scoped_release released;
  std::vector<uint8_t> is_taken(n_items, 0);
  for (size_t user = 0; user < n; ++user) {
    const auto [first, last] = taken.row(user);
    for (size_t at = first; at < last; ++at) is_taken[within("taken item", taken.columns.data()[at], n_items)] = 1;
    int32_t *list = items.data() + user * k;
    size_t place = 0;
    for (size_t next = 0; next < by_popularity.shape(0) && place < k; ++next) {
      const int32_t item = by_popularity.data()[next];
      if (!is_taken[within("item", item, n_items)]) list[place++] = item;
    }
    std::fill(list + place, list + k, -1);
    for (size_t at = first; at < last; ++at) is_taken[taken.columns.data()[at]] = 0;
  }
}

void find_in_rows(const Lists &rows, Table<int32_t> items, OutTable<int64_t> places) {
  const size_t n = items.shape(0), k = items.shape(1);
  rows.check(n);
  require(places.shape(0) == n && places.shape(1) == k, "places of another shape");
  nb::gil_scoped_release released;
  for (size_t user = 0; user < n; ++user) {
    const auto [first, last] = rows.row(user);
    const int32_t *columns = rows.columns.data(), *begin = columns + first, *end = columns + last;
    for (size_t at = user * k; at < (user + 1) * k; ++at) {
      const int32_t *place = std::lower_bound(begin, end, items.data()[at]);
      places.data()[at] = place < end && *place == items.data()[at] ? place - columns : -1;
    }
  }
}

void count_opinions(const AnyRows &any, Table<int32_t> neighbors, Table<int32_t> items, OutTable<uint32_t> counts,
                    OutTable<float> means) {
  const size_t n = neighbors.shape(0), n_near = neighbors.shape(1), k = items.shape(1), n_items = any.n_columns;
  for (size_t rows : {items.shape(0), counts.shape(0), means.shape(0)}) require(rows == n, "lists of other users");
  require(counts.shape(1) == k && means.shape(1) == k, "lists of another length");
  with_rows(any, [&](auto rows) {
    nb::gil_scoped_release released;
    std::vector<int32_t> place(n_items, -1);
    std::vector<double> sums(k);
    for (size_t user = 0; user < n; ++user) {
      const int32_t *list = items.data() + user * k;
      uint32_t *count = counts.data() + user * k;
      std::fill(sums.begin(), sums.end(), 0.0);
      std::fill(count, count + k, 0u);
      for (size_t j = 0; j < k; ++j)
        if (list[j] >= 0) place[within("item", list[j], n_items)] = static_cast<int32_t>(j);
      for (size_t j = 0; j < n_near; ++j) {
        const int32_t neighbor = neighbors.data()[user * n_near + j];
        if (neighbor < 0) continue;
        const auto [first, last] = rows.row(within("neighbour", neighbor, rows.n_rows));
        for (size_t at = first; at < last; ++at) {
          const int32_t found = place[rows.column(at)];
          if (found >= 0) ++count[found], sums[found] += static_cast<double>(rows.value(at));
        }
      }
      for (size_t j = 0; j < k; ++j) {
        if (list[j] >= 0) place[list[j]] = -1;
        means.data()[user * k + j] = count[j] ? static_cast<float>(sums[j] / count[j]) : std::numeric_limits<float>::quiet_NaN();
      }
    }
  });
}

void find_strongest(const AnyRows &any, const Lists &own, Vector<float> values, Table<int32_t> items,
                    OutTable<int32_t> strongest, OutTable<float> sums) {
  const size_t n = items.shape(0), k = items.shape(1), n_items = any.n_columns;
  own.check(n);
  require(values.shape(0) == own.columns.shape(0), "values of other items");
  for (const auto &shape : {std::pair{strongest.shape(0), strongest.shape(1)}, {sums.shape(0), sums.shape(1)}})
    require(shape.first == n && shape.second == k, "lists of another shape");
  with_rows(any, [&](auto rows) {
    nb::gil_scoped_release released;
    std::vector<int32_t> place(n_items, -1);
    std::vector<float> most(k);
    for (size_t user = 0; user < n; ++user) {
      const int32_t *list = items.data() + user * k;
      int32_t *best = strongest.data() + user * k;
      float *sum = sums.data() + user * k;
      std::fill(best, best + k, -1), std::fill(sum, sum + k, 0.0f), std::fill(most.begin(), most.end(), 0.0f);
      for (size_t j = 0; j < k; ++j)
        if (list[j] >= 0) place[within("item", list[j], n_items)] = static_cast<int32_t>(j);
      const auto [start, stop] = own.row(user);
      for (size_t j = start; j < stop; ++j) {
        const int32_t item = own.columns.data()[j];
        const Span row = rows.row(within("own item", item, rows.n_rows));
        for (size_t at = row.first; at < row.last; ++at) {
          const int32_t found = place[rows.column(at)];
          if (found < 0) continue;
          const float added = values.data()[j] * rows.value(at);
          sum[found] += added;
          if (added > most[static_cast<size_t>(found)]) most[static_cast<size_t>(found)] = added, best[found] = item;
        }
      }
      for (size_t j = 0; j < k; ++j)
        if (list[j] >= 0) place[list[j]] = -1;
    }
  });
}
