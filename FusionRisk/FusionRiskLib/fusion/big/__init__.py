"""Tables too large to be held: read from Parquet in batches, trained on and scored in passes over the file.

A small Parquet table is read into an ordinary `cohort.Cohort`; nothing here is then needed but `parquet`.
"""

#: A Parquet table of more cells is streamed by early and late fusion with logistic or Cox regression.
STREAM_CELLS = 4_000_000
#: No other model, and no judging, takes a Parquet table of more cells as a whole.
WHOLE_CELLS = 20_000_000
#: Rows read at a time.
BATCH_ROWS = 16_384
#: Rows drawn at random for leakage checks, the guard, conformal bounds of survival, and the stacker's members.
SAMPLE_ROWS = 50_000
#: Rows of these on which settings are chosen.
SETTING_ROWS = 20_000
