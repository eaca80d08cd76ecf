"""Side-by-side speed and quality against peers, one file a peer; `make bench` makes the environment they need."""
