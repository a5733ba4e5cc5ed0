"""A collection at a glance: its photos in the plane, and groups of those that look alike."""
