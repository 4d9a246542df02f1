"""What Windows' Host Compute Service does to layers, as one interface."""
