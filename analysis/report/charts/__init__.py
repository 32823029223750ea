"""Charts of the page: what a chart is, and which there are."""
