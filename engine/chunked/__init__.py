"""The engine: run a chunked computation inside a byte budget, and survive being killed.

Nothing in here knows what is computed. A *stage* is a sequence of *rounds*; a round is a number of
independent *tasks*; a task reads what earlier rounds and stages committed, writes whole files into a
scratch folder of its own, and is done when its record is.
"""
