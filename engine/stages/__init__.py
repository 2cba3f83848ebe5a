"""What this recommender does: one file for each step of the pipeline."""
