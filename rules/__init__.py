"""The built-in rules, one folder a checklist section; registered as plugins like any other."""
