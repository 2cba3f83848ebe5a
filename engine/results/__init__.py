"""The figures of a run, for programs and people.

A *figure* is a number such as the RMSE. `figures` collects them for ``metrics.json``, `summary` prints them, and
`report` shows them in tables and charts on a page.
"""
