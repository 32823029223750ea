"""The report: runs read from disk, drawn, and written as tables, pictures and a page."""
