"""What is learned from: pictures found, decoded and varied."""
