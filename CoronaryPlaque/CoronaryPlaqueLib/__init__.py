"""Coronary arteries on CT: calcium scores by vessel."""
