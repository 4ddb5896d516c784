"""What clients counted of the served traffic, and whether it has drifted from the release's own answers."""
