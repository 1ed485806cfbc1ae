"""Work on Ray. cluster.py: Ray, its workers and their failures; indexing.py: workers that embed and write shards;
evaluation.py: workers that score prompts; training.py: workers that compute gradients."""
