"""From a query to its answers."""
