"""A run on disk: its record, folder, curves and pictures."""
