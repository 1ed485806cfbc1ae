"""A session: load an index, an encoder and a model once; then for each prompt select texts, fine-tune, score or answer,
and discard the update.

session.py     `Tuner`, the class for users; loading.py loads its model, prompts.py reads its prompts
dialogs.py     prompts that are dialogs: their text for the model, their queries
selector.py    prompt -> selected texts
learners.py    how a prompt learns from them: gradient steps on LoRA or all weights, or in context (in_context.py)
scoring.py     prompts -> results in bits per byte; guard.py: how much of an update to keep
generation.py  prompts -> answers
run.py         a run folder: results on disk, resumable
results.py     the return values
"""
