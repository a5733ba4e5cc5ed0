"""The family of errors is the one its docstrings draw, and messages leave commands to hints."""

import ast
import pickle
import re
from pathlib import Path

from index import errors
from index.errors import UserError
from training import errors as training_errors

REPOSITORY = Path(__file__).resolve().parent.parent


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


def test_the_docstring_of_training_draws_the_rest() -> None:
    drawn = re.findall(r"[├└]── (\w+Error)\b", training_errors.__doc__ or "")
    defined = [name for name, kind in vars(training_errors).items() if isinstance(kind, type) and kind is not UserError]
    assert drawn == defined
    assert all(issubclass(getattr(training_errors, name), UserError) for name in drawn)


def test_messages_for_python_name_no_command() -> None:
    """What to run next is a hint, which the command line alone adds."""
    for file in sorted(
        path for package in ("index", "retrieval", "training") for path in (REPOSITORY / package).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
                said = " ".join(
                    part.value
                    for argument in node.args
                    for part in ast.walk(argument)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                assert not re.search(r"`fc7|(?<!\w)--?[a-z]", said), f"{file}:{node.lineno}: {said}"


def test_a_hint_is_told_apart_from_what_happened() -> None:
    error = UserError("there is none", hint="make one")
    assert (str(error), error.with_hint) == ("there is none", "there is none; make one")
    assert UserError("there is none").with_hint == "there is none"
    again = pickle.loads(pickle.dumps(error))  # as processes that train together tell each other
    assert (str(again), again.hint) == (str(error), error.hint)
