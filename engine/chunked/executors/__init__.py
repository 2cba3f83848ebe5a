"""Executors: who runs the tasks of a stage."""
