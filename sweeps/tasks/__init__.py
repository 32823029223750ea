"""Tasks: the links of the chain that a trial is."""
