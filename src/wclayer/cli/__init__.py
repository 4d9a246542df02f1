"""The command line: parse, call one typed function, print."""
