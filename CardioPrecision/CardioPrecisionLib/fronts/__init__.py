"""Thin fronts over the analyses: command line, child process, demo. Nothing imports a front."""
