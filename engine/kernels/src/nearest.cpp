// The most similar of many vectors, a block of queries against a tile of others at a time.
#include <vector>

#include "arrays.h"
#include "best.h"
#include "kernels.h"
#include "lanes.h"

namespace {

// What a cosine is taken for at least where others are compared with it.
constexpr float SMALL_COSINE = 1e-6f;

// Others laid out dimension by dimension, with zeros up to a whole number of lanes.
struct Tile {
  size_t n, stride;
  std::vector<float> values;

  Tile(const Table<float> &vectors) : n(vectors.shape(0)), stride((n + LANES - 1) / LANES * LANES) {
    const size_t dims = vectors.shape(1);
    values.assign(dims * stride, 0.0f);
    // Some others at a time: lines of each dimension, which lie a power of two apart, put each other out of the cache.
    for (size_t first = 0; first < n; first += LANES)
      for (size_t i = 0; i < dims; ++i)
        for (size_t j = first; j < std::min(first + LANES, n); ++j) values[i * stride + j] = vectors.data()[j * dims + i];
  }
};

// Go through all products of queries and a tile, a few at a time: consume(query, first other, products, how many).
template <class Consume>
void for_products(const float *queries, size_t dims, const int64_t *rows, size_t n, const Tile &tile, Consume consume) {
  static const auto multiply = OF_THIS_MACHINE(multiply);
  float products[QUERIES * LANES];
  for (size_t start = 0; start < n; start += QUERIES) {
    const size_t here = std::min(QUERIES, n - start);
    const float *some[QUERIES];
    for (size_t q = 0; q < QUERIES; ++q) some[q] = queries + static_cast<size_t>(rows[start + std::min(q, here - 1)]) * dims;
    for (size_t first = 0; first < tile.n; first += LANES) {
      multiply(some, tile.values.data() + first, dims, tile.stride, products);
      const size_t wide = std::min(LANES, tile.n - first);
      for (size_t q = 0; q < here; ++q) consume(start + q, first, products + q * LANES, wide);
    }
  }
}

// The best of one query so far, in the arrays that hold them: up to `room` kept, in no order.
struct Kept {
  int32_t *numbers;
  float *scores;
  int32_t &used;
  float &worst;
  int32_t &worst_number;
  size_t k, room;

  void offer(float score, int32_t number, std::vector<Candidate> &scratch) {
    if (!(score > worst || (score == worst && number < worst_number))) return;  // what is no number is none of the best
    numbers[used] = number, scores[used] = score;
    if (static_cast<size_t>(++used) == room) select(scratch);
  }

  void select(std::vector<Candidate> &scratch) {
    scratch.clear();
    for (int32_t i = 0; i < used; ++i) scratch.push_back({scores[i], numbers[i]});
    if (scratch.size() >= k) {
      std::nth_element(scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(k - 1), scratch.end(), better);
      scratch.resize(k);
      worst = scratch[k - 1].score, worst_number = scratch[k - 1].number;
    }
    for (size_t i = 0; i < scratch.size(); ++i) scores[i] = scratch[i].score, numbers[i] = scratch[i].number;
    used = static_cast<int32_t>(scratch.size());
  }
};

}  // namespace

void keep_best(Table<float> queries, Vector<int32_t> own, Vector<int64_t> rows, Table<float> vectors,
               Vector<int32_t> codes, Vector<float> own_trust, Vector<float> trust, int64_t k, OutTable<int32_t> numbers,
               OutTable<float> scores, OutVector<int32_t> used, OutVector<float> worst, OutVector<int32_t> worst_number) {
  const size_t n = queries.shape(0), dims = queries.shape(1), room = numbers.shape(1);
  require(vectors.shape(1) == dims && codes.shape(0) == vectors.shape(0), "others of another shape");
  for (size_t size : {own.shape(0), numbers.shape(0), scores.shape(0), used.shape(0), worst.shape(0), worst_number.shape(0)})
    require(size == n, "queries of another number");
  require(k > 0 && room > static_cast<size_t>(k) && scores.shape(1) == room, "no room for the best");
  const bool trusted = trust.shape(0) > 0;
  require(!trusted || (trust.shape(0) == vectors.shape(0) && own_trust.shape(0) == n), "trust of others");
  for (size_t i = 0; i < rows.shape(0); ++i) {
    const size_t row = within("query", rows.data()[i], n);
    require(used.data()[row] >= 0 && static_cast<size_t>(used.data()[row]) < room, "more kept than there is room for");
  }
  nb::gil_scoped_release released;
  // Dot products of unit rows are at most 1, or a rounding more: no similarity is much greater than the trust in the other.
  float most = std::numeric_limits<float>::infinity();
  if (trusted) most = *std::max_element(trust.data(), trust.data() + trust.shape(0)) * 1.00001f;
  std::vector<int64_t> asking;
  for (size_t i = 0; i < rows.shape(0); ++i)
    if (worst.data()[rows.data()[i]] <= most) asking.push_back(rows.data()[i]);
  if (asking.empty()) return;
  const Tile tile(vectors);
  std::vector<float> trusts;  // filled up as the tile is
  if (trusted) trusts.assign(tile.stride, 0.0f), std::copy_n(trust.data(), tile.n, trusts.begin());
  static const auto weigh = OF_THIS_MACHINE(weigh);
  std::vector<Candidate> scratch;
  scratch.reserve(room);
  for_products(queries.data(), dims, asking.data(), asking.size(), tile, [&](size_t at, size_t first, float *products, size_t wide) {
    const size_t row = static_cast<size_t>(asking[at]);
    Kept kept{numbers.data() + row * room, scores.data() + row * room, used.data()[row], worst.data()[row],
              worst_number.data()[row], static_cast<size_t>(k), room};
    uint32_t reached = weigh(products, trusted ? own_trust.data()[row] : 0.0f, trusted ? trusts.data() + first : nullptr, kept.worst);
    for (reached &= (1u << wide) - 1; reached; reached &= reached - 1) {
      const size_t j = static_cast<size_t>(__builtin_ctz(reached));
      if (codes.data()[first + j] != own.data()[row]) kept.offer(products[j], codes.data()[first + j], scratch);
    }
  });
}

void sort_best(Table<int32_t> numbers, Table<float> scores, Vector<int32_t> used, OutTable<int32_t> best,
               OutTable<float> best_scores) {
  const size_t n = numbers.shape(0), room = numbers.shape(1), k = best.shape(1);
  require(scores.shape(0) == n && scores.shape(1) == room && used.shape(0) == n, "queries of another number");
  require(best.shape(0) == n && best_scores.shape(0) == n && best_scores.shape(1) == k, "results of another shape");
  nb::gil_scoped_release released;
  std::vector<Candidate> found;
  for (size_t i = 0; i < n; ++i) {
    const size_t there = within("number of those kept", used.data()[i], room + 1);
    found.clear();
    for (size_t j = i * room; j < i * room + there; ++j) found.push_back({scores.data()[j], numbers.data()[j]});
    std::sort(found.begin(), found.end(), better);
    for (size_t j = 0; j < k; ++j) {
      const bool is_there = j < there;
      best.data()[i * k + j] = is_there ? found[j].number : -1;
      best_scores.data()[i * k + j] = is_there ? found[j].score : std::numeric_limits<float>::quiet_NaN();
    }
  }
}

void products_of(Table<float> rows, Table<float> others, OutTable<float> products) {
  const size_t n = rows.shape(0), dims = rows.shape(1), m = others.shape(0);
  require(others.shape(1) == dims, "others of another shape");
  require(products.shape(0) == n && products.shape(1) == m, "products of another shape");
  nb::gil_scoped_release released;
  const Tile tile(others);
  std::vector<int64_t> all(n);
  for (size_t i = 0; i < n; ++i) all[i] = static_cast<int64_t>(i);
  for_products(rows.data(), dims, all.data(), n, tile, [&](size_t at, size_t first, const float *some, size_t wide) {
    std::copy(some, some + wide, products.data() + at * m + first);
  });
}

void near_centres(Table<float> rows, Table<float> centres, float reach, OutVector<int32_t> nearest, OutTable<uint8_t> near) {
  const size_t n = rows.shape(0), dims = rows.shape(1), m = centres.shape(0), width = near.shape(1);
  require(centres.shape(1) == dims && (m > 0 || n == 0), "centres of another shape");
  require(nearest.shape(0) == n, "nearest of another number of rows");
  require(near.shape(0) == 0 || (near.shape(0) == m && width == (n + QUERIES - 1) / QUERIES), "bits of another shape");
  nb::gil_scoped_release released;
  static const auto multiply = OF_THIS_MACHINE(multiply);
  const Tile tile(centres);
  std::vector<float> products(QUERIES * tile.stride);
  std::vector<uint8_t> byte(m);
  for (size_t start = 0; start < n; start += QUERIES) {
    const size_t here = std::min(QUERIES, n - start);
    const float *some[QUERIES];
    for (size_t q = 0; q < QUERIES; ++q) some[q] = rows.data() + (start + std::min(q, here - 1)) * dims;
    for (size_t first = 0; first < tile.n; first += LANES) {
      float block[QUERIES * LANES];
      multiply(some, tile.values.data() + first, dims, tile.stride, block);
      for (size_t q = 0; q < here; ++q) std::copy_n(block + q * LANES, LANES, products.data() + q * tile.stride + first);
    }
    std::fill(byte.begin(), byte.end(), uint8_t{0});
    for (size_t q = 0; q < here; ++q) {
      const float *cosines = products.data() + q * tile.stride;
      const size_t best = static_cast<size_t>(std::max_element(cosines, cosines + m) - cosines);
      nearest.data()[start + q] = static_cast<int32_t>(best);
      if (near.shape(0) == 0 || std::all_of(some[q], some[q] + dims, [](float value) { return value == 0.0f; })) continue;
      const float most = cosines[best], scale = std::max(std::abs(most), SMALL_COSINE);
      const uint8_t bit = static_cast<uint8_t>(0x80 >> q);
      for (size_t c = 0; c < m; ++c) byte[c] = static_cast<uint8_t>(byte[c] | ((most - cosines[c]) / scale <= reach ? bit : 0));
      byte[best] = static_cast<uint8_t>(byte[best] & ~bit);
    }
    if (near.shape(0) == 0) continue;
    for (size_t c = 0; c < m; ++c)
      if (byte[c]) near.data()[c * width + start / QUERIES] = byte[c];
  }
}

void whole_products_of(Table<int16_t> rows, Vector<int16_t> other, OutVector<int32_t> products) {
  const size_t n = rows.shape(0), dims = rows.shape(1);
  require(other.shape(0) == dims && products.shape(0) == n, "products of another shape");
  nb::gil_scoped_release released;
  const int16_t *row = rows.data(), *one = other.data();
  for (size_t j = 0; j < n; ++j, row += dims) {
    uint32_t sum = 0;  // wraps, where the vectors are no shorter than they are said to be
    for (size_t i = 0; i < dims; ++i) sum += static_cast<uint32_t>(int32_t{row[i]} * int32_t{one[i]});
    products.data()[j] = static_cast<int32_t>(sum);
  }
}
