"""Runs code: training programs and notebooks before and after their fixes, and says what it saw.

The only part of qalint that executes what it is given, in a subprocess with limits of time and
memory, on a temporary copy. `symptoms` and `oracles` are pure; `probe`, `pretend` and
`notebook_probe` live in the child process; `jobs` starts it; `verify` is the whole flow.
"""
