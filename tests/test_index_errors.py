"""The family of errors is the one its docstring draws."""

import re

from index import errors


def test_the_docstring_draws_the_family() -> None:
    drawn: dict[str, str] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│├└─ ]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            parents[depth:] = [found[2]]
            drawn[found[2]] = parents[depth - 1] if depth else "Exception"
    defined = {
        name: kind.__base__.__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__base__ is not None
    }
    assert drawn == defined
    assert all(issubclass(getattr(errors, name), errors.UserError) for name in drawn)
