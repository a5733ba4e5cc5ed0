"""From files to pixels: which files are photos, how they are read, decoded and prepared."""
