"""The verbs on whole images. Each module answers one question or does one job; the command line is one caller."""
