// The module: what Python sees of the kernels.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "kernels.h"
#include "lanes.h"

NB_MODULE(_native, module) {
  nb::class_<AnyRows>(module, "Rows")
      .def("__init__", [](AnyRows *self, Vector<int64_t> indptr, AnyVector indices, AnyVector data, size_t n_columns,
                          float step) { new (self) AnyRows{indptr, indices, data, n_columns, step}; },
           nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(), nb::arg("data").noconvert(),
           nb::arg("n_columns"), nb::arg("step"));
  nb::class_<Lists>(module, "Lists")
      .def("__init__", [](Lists *self, Vector<int64_t> indptr, Vector<int32_t> columns) {
        new (self) Lists{indptr, columns};
      }, nb::arg("indptr").noconvert(), nb::arg("columns").noconvert());
  module.def("rank_items", &rank_items, nb::arg("rows"), nb::arg("neighbors").noconvert(), nb::arg("weights").noconvert(), nb::arg("factor").noconvert(), nb::arg("is_rating"), nb::arg("liked_from"), nb::arg("disliked"), nb::arg("near").none(), nb::arg("liked"), nb::arg("shares").noconvert(),
             nb::arg("together").none(), nb::arg("own_items"), nb::arg("own_values").noconvert(), nb::arg("user_vectors").noconvert(), nb::arg("item_vectors").noconvert(), nb::arg("popularity").noconvert(),
             nb::arg("by_popularity").noconvert(), nb::arg("n_popular"), nb::arg("blends").noconvert(), nb::arg("taken"), nb::arg("wanted"), nb::arg("offered").noconvert(), nb::arg("items").noconvert(), nb::arg("ranked").noconvert(), nb::arg("found").noconvert(), nb::arg("contributions").noconvert(), nb::arg("votes_of_listed").noconvert());
  module.def("rank_popular", &rank_popular, nb::arg("by_popularity").noconvert(), nb::arg("n_items"), nb::arg("taken"), nb::arg("items").noconvert());
  module.def("find_in_rows", &find_in_rows, nb::arg("rows"), nb::arg("items").noconvert(), nb::arg("places").noconvert());
  module.def("count_opinions", &count_opinions, nb::arg("rows"), nb::arg("neighbors").noconvert(), nb::arg("items").noconvert(), nb::arg("counts").noconvert(), nb::arg("means").noconvert());
  module.def("find_strongest", &find_strongest, nb::arg("rows"), nb::arg("own"), nb::arg("values").noconvert(), nb::arg("items").noconvert(), nb::arg("strongest").noconvert(), nb::arg("sums").noconvert());
  module.def("mean_near_residuals", &mean_near_residuals, nb::arg("own"), nb::arg("residuals").noconvert(), nb::arg("n_items"), nb::arg("asked"), nb::arg("near").noconvert(), nb::arg("similarities").noconvert(), nb::arg("shrink"), nb::arg("means").noconvert(), nb::arg("covered").noconvert());
  module.def("products_of_pairs", &products_of_pairs, nb::arg("users").noconvert(), nb::arg("items").noconvert(),
             nb::arg("asked"), nb::arg("products").noconvert());
  module.def("add_gram_product", &add_gram_product, nb::arg("rows"), nb::arg("order").noconvert(), nb::arg("weights").noconvert(), nb::arg("basis").noconvert(), nb::arg("total").noconvert());
  module.def("add_partial_sums", &add_partial_sums, nb::arg("rows"), nb::arg("ends").noconvert(), nb::arg("order").noconvert(),
             nb::arg("weights").noconvert(), nb::arg("basis").noconvert(), nb::arg("total").noconvert());
  module.def("times_dense", &times_dense, nb::arg("rows"), nb::arg("order").noconvert(), nb::arg("dense").noconvert(), nb::arg("product").noconvert());
  module.def("solve_rows", &solve_rows, nb::arg("rows"), nb::arg("targets").noconvert(), nb::arg("weights").noconvert(), nb::arg("ridges").noconvert(),
             nb::arg("others").noconvert(), nb::arg("gram").noconvert(), nb::arg("steps"), nb::arg("order").noconvert(), nb::arg("solutions").noconvert());
  module.def("add_left", &add_left, nb::arg("rows"), nb::arg("targets").noconvert(), nb::arg("weights").noconvert(),
             nb::arg("row_vectors").noconvert(), nb::arg("column_vectors").noconvert(), nb::arg("order").noconvert(),
             nb::arg("into").noconvert());
  module.def("begin_rows", &begin_rows, nb::arg("sums").noconvert(), nb::arg("gram").noconvert(), nb::arg("ridges").noconvert(), nb::arg("solutions").noconvert(),
             nb::arg("residuals").noconvert(), nb::arg("directions").noconvert(), nb::arg("lengths").noconvert());
  module.def("step_rows", &step_rows, nb::arg("sums").noconvert(), nb::arg("gram").noconvert(), nb::arg("ridges").noconvert(), nb::arg("solutions").noconvert(),
             nb::arg("residuals").noconvert(), nb::arg("directions").noconvert(), nb::arg("lengths").noconvert());
  module.def("find_together", &find_together, nb::arg("rows"), nb::arg("of_items"), nb::arg("items").noconvert(),
             nb::arg("user_weights").noconvert(), nb::arg("item_weights").noconvert(), nb::arg("liked_from"),
             nb::arg("disliked"), nb::arg("ids").noconvert(), nb::arg("similarities").noconvert());
  module.def("keep_best", &keep_best, nb::arg("queries").noconvert(), nb::arg("own").noconvert(), nb::arg("rows").noconvert(), nb::arg("vectors").noconvert(), nb::arg("codes").noconvert(), nb::arg("own_trust").noconvert(), nb::arg("trust").noconvert(), nb::arg("k"), nb::arg("numbers").noconvert(), nb::arg("scores").noconvert(), nb::arg("used").noconvert(), nb::arg("worst").noconvert(), nb::arg("worst_number").noconvert());
  module.def("sort_best", &sort_best, nb::arg("numbers").noconvert(), nb::arg("scores").noconvert(),
             nb::arg("used").noconvert(), nb::arg("best").noconvert(), nb::arg("best_scores").noconvert());
  module.def("products_of", &products_of, nb::arg("rows").noconvert(), nb::arg("others").noconvert(), nb::arg("products").noconvert());
  module.def("near_centres", &near_centres, nb::arg("rows").noconvert(), nb::arg("centres").noconvert(), nb::arg("reach"),
             nb::arg("nearest").noconvert(), nb::arg("near").noconvert());
  module.def("whole_products_of", &whole_products_of, nb::arg("rows").noconvert(), nb::arg("other").noconvert(), nb::arg("products").noconvert());
  module.attr("LANES") = WIDTHS[static_cast<size_t>(width_of_this_machine())];
  module.attr("BUILT_OF") = BUILT_OF;
  module.attr("BUILT") = nb::make_tuple(BUILT_WITH, BUILT_AS, SANITIZED);
}
