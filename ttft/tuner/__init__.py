"""A session: an index, an encoder and a model, loaded once; then per prompt select, tune, score or answer, forget.

session.py     `Tuner`, which users construct; loading.py loads its model, prompts.py reads its prompts
selector.py    prompt -> chosen texts
learners.py    how a prompt learns from them: gradient steps on LoRA or all weights, or reading them (in_context.py)
scoring.py     prompts -> results in bits per byte; guard.py: how much of an update to keep
generation.py  prompts -> answers
run.py         a run folder: results on disk, resumable
results.py     what comes back
"""
