"""What is where in a photo: networks as convolutions over whole pictures, boxes from their maps, and how good they are."""
