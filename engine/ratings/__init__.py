"""Ratings files: what they look like, how they are read, what is wrong with them, and where data sets come from."""
