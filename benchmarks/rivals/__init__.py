"""Rivals: methods of the field that get the same clips as ours, one a file."""
