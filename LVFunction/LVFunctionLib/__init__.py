"""Left and right ventricular function from cine short-axis CMR."""
