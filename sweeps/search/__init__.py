"""Search: the space, what is drawn from it, and which trials are promoted within what budget."""
