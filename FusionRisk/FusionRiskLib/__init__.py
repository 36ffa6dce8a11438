"""Risk scores and fusion of measurements with clinical data. There is no analysis in this package yet."""
