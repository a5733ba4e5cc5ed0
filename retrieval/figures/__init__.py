"""Pictures of answers, of networks and of detections, as files."""
