"""What is where in a photo: networks as convolutions over pictures of any size, and boxes from their maps."""
