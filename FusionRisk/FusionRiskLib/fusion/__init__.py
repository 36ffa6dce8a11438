"""Fusion models: a lab's own cohort, joined across modalities, judged without leaks.

`schema` and `cohort_table` read a cohort, `folds` and `leakage` split it and guard the splits, `metrics` and
`conformal` judge and hedge, `early` and `late` are models, `evaluate` cross-validates them, `store` keeps a model.
"""
