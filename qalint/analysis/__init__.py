"""What the code means. Each analysis is computed once per file, and only if a rule asks for it."""
