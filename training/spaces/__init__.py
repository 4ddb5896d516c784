"""Search spaces, one a module; each docstring gives a command and says which ranges were chosen and why."""
