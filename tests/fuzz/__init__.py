"""Arbitrary input at every door, the same each time.

    python -m pytest tests/fuzz --hypothesis-profile=long --hypothesis-seed=1

tries 10,000 inputs for each test in place of 50 or so, others with each seed.
"""
