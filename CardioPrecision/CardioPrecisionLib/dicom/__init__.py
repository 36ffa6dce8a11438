"""DICOM in: which images a folder holds, and which of them make a stack that an analysis can read.

`scan` reads headers into planes, `cine` sorts them into cine short-axis stacks, `pixels` decodes on demand.
"""
