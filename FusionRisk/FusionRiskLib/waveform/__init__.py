"""Waveforms: electrocardiograms and heart sounds as columns of a cohort table."""
