// The kernels, as `engine.kernels` describes them.
#pragma once

#include <optional>

#include "arrays.h"

void rank_items(const AnyRows &rows, Table<int32_t> neighbors, Table<float> weights, Vector<float> factor, bool is_rating,
                float liked_from, float disliked, const std::optional<AnyRows> &near, const Lists &liked,
                Vector<float> shares, const std::optional<AnyRows> &together, const Lists &own_items,
                Vector<float> own_values, Table<float> user_vectors, Table<float> item_vectors, Vector<float> popularity,
                Vector<int32_t> by_popularity, size_t n_popular, Table<float> blends, const Lists &taken, const Lists &wanted,
                Vector<uint8_t> offered, OutTable<int32_t> items, OutTable<float> ranked, OutVector<float> found,
                OutTable<float> contributions, OutVector<float> votes_of_listed);
void rank_popular(Vector<int32_t> by_popularity, size_t n_items, const Lists &taken, OutTable<int32_t> items);
void find_in_rows(const Lists &rows, Table<int32_t> items, OutTable<int64_t> places);
void count_opinions(const AnyRows &rows, Table<int32_t> neighbors, Table<int32_t> items, OutTable<uint32_t> counts,
                    OutTable<float> means);
void find_strongest(const AnyRows &rows, const Lists &own, Vector<float> values, Table<int32_t> items,
                    OutTable<int32_t> strongest, OutTable<float> sums);

void mean_near_residuals(const Lists &own, Vector<float> residuals, size_t n_items, const Lists &asked,
                         Table<int32_t> near, Table<float> similarities, double shrink, OutVector<float> means,
                         OutVector<bool> covered);
void products_of_pairs(Table<float> users, Table<float> items, const Lists &asked, OutVector<float> products);

void add_gram_product(const AnyRows &rows, Vector<int32_t> order, Vector<float> weights, Table<float> basis,
                      OutTable<float> total);
void add_partial_sums(const AnyRows &rows, Vector<int64_t> ends, Vector<int32_t> order, Vector<float> weights,
                      Table<float> basis, OutTable<float> total);
void times_dense(const AnyRows &rows, Vector<int32_t> order, Table<float> dense, OutTable<float> product);

void solve_rows(const AnyRows &rows, Vector<float> targets, Vector<float> weights, Vector<float> ridges,
                Table<float> others, Table<float> gram, size_t steps, Vector<int32_t> order, OutTable<float> solutions);

void add_left(const AnyRows &rows, Vector<float> targets, Vector<float> weights, Table<float> row_vectors,
              Table<float> column_vectors, Vector<int32_t> order, OutTable<float> into);
void begin_rows(Table<float> sums, Table<float> gram, Vector<float> ridges, OutTable<float> solutions,
                OutTable<float> residuals, OutTable<float> directions, OutVector<float> lengths);
void step_rows(Table<float> sums, Table<float> gram, Vector<float> ridges, OutTable<float> solutions,
               OutTable<float> residuals, OutTable<float> directions, OutVector<float> lengths);

void find_together(const AnyRows &rows, const AnyRows &of_items, Vector<int32_t> items, Vector<float> user_weights,
                   Vector<float> item_weights, float liked_from, float disliked, OutTable<int32_t> ids,
                   OutTable<float> similarities);

void keep_best(Table<float> queries, Vector<int32_t> own, Vector<int64_t> rows, Table<float> vectors,
               Vector<int32_t> codes, Vector<float> own_trust, Vector<float> trust, int64_t k, OutTable<int32_t> numbers,
               OutTable<float> scores, OutVector<int32_t> used, OutVector<float> worst, OutVector<int32_t> worst_number);
void sort_best(Table<int32_t> numbers, Table<float> scores, Vector<int32_t> used, OutTable<int32_t> best,
               OutTable<float> best_scores);
void products_of(Table<float> rows, Table<float> others, OutTable<float> products);
void near_centres(Table<float> rows, Table<float> centres, float reach, OutVector<int32_t> nearest, OutTable<uint8_t> near);
void whole_products_of(Table<int16_t> rows, Vector<int16_t> other, OutVector<int32_t> products);
