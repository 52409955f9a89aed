"""The one exception that ends a run with status 2 and one plain sentence on standard error."""

from __future__ import annotations

from collections.abc import Iterable


class UsageError(Exception):
    """Something abnormal that the user can put right; its text is a whole sentence."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like `word`, or None where none is near."""
    import difflib

    candidates = sorted(set(known))
    found = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    if found:
        return found[0]
    folded = {candidate.lower(): candidate for candidate in candidates}
    again = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.5)
    if again:
        return folded[again[0]]
    start = word.lower()[:4]
    return next((folded[each] for each in folded if len(start) == 4 and each.startswith(start)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)`, or the empty string."""
    found = nearest(word, known)
    return f" (did you mean `{found}`?)" if found else ""
