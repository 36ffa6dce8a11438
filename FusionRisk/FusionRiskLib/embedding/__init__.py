"""Image embeddings: what the frozen encoder of a MONAI bundle makes of an image, as columns of a cohort table.

Nothing is imported here: `encoder` and `inputs` load torch.
"""
