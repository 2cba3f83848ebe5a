"""Storage: where files are, on a disk of this machine or in a store, and how they get there."""
