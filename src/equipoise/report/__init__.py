"""A diagnosis as one HTML file that opens from disk."""
