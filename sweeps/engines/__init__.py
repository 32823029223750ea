"""Engines: how tasks get to processors."""
