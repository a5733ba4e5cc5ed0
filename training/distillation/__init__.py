"""Learning from a better network, the teacher."""
