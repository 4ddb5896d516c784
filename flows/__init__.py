"""What changes the served release: the flow from a dataset to a promoted release, and the commands for releases."""
