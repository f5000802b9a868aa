"""What is on disk: run folders, images, telescope files."""
