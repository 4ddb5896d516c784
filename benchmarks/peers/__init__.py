"""What others would serve the same two graphs with; each runs in an environment of its own (`environments/`)."""
