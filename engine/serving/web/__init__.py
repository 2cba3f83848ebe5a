"""A finished run on the network: JSON for programs, and a page for people."""
