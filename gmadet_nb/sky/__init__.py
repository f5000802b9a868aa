"""What others know of the same sky: references, catalogues."""
