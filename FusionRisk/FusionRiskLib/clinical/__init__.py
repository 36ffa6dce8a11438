"""The clinical record: its fields, its files and its form."""
