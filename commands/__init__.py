"""The commands of the command line, and all that is about a terminal."""
