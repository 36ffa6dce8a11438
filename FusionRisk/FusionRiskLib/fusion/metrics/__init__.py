"""How good a prediction is: discrimination, calibration, decisions, survival, and bootstrap intervals on all of it."""
