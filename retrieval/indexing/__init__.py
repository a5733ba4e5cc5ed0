"""From folders to an index: filled, watched, rebuilt, checked."""
