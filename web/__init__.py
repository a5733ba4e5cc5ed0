"""A collection in the browser, and over HTTP for programs."""
