"""Arithmetic on arrays: no files, no configuration of a run. A module has the name of the stage that uses it."""
