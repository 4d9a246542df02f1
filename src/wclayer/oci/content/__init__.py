"""What was fetched from registries, kept on this machine. Each module is imported by whoever needs it."""
