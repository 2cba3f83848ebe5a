"""What each step leaves, and how others read it: the only rooms that know names of files and fields of records.

`names` has the names, for who writes and who reads; `records` what tasks returned; `tables` what is Parquet; `readers`
the rest. The first three load no numerical library, and `readers` NumPy and Zarr alone: Polars and SciPy only where a
method needs them, since stages run in small budgets.
"""
