"""How fast the hot routes are, beside what the same server does with a bare view.

`./dev bench` runs `python -m benchmarks` on throwaway servers of its own (fsync on).
"""
