"""Coronary arteries on CT. There is no analysis in this package yet; the name is kept for it."""
