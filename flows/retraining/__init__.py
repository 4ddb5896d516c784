"""From a dataset to a promoted release, and the search for a configuration."""
