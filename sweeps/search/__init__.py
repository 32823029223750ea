"""Search: the space, what is drawn from it, and who goes on past a rung within what budget."""
