"""Rules of replicas: what an engine's users feel, judged by how it stands and by its numbers. What is asleep, paused or
drained on purpose is no fault, and no GPU is blamed for an engine.
"""
