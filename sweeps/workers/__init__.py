"""Worker processes and the storage that they share."""
