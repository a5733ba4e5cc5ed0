"""The values of a dataclass as options of the command line: names, types and help. Standard library only."""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints


class Option(NamedTuple):
    """A value that the command line offers; the help ends with its default."""

    name: str
    type: Any
    help: str


def options_of(by_arch: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]] | None = None) -> list[Option]:
    """Return an option for each `Annotated[type, help]` value of a dataclass, given its defaults by architecture.

    `others` are other defaults, by the flag that brings them.
    """
    hints = get_type_hints(type(next(iter(by_arch.values()))), include_extras=True)
    return [
        Option(
            name,
            hint.__origin__,
            f"{_sentence(hint.__metadata__[0])}  [default: {_defaults(name, by_arch, others or {})}]",
        )
        for name, hint in hints.items()
        if hasattr(hint, "__metadata__")
    ]


def _defaults(name: str, by_arch: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what holds, and after it what holds with a flag, where that is something else."""
    usual = _default(name, by_arch)
    with_flags = ((flag, _default(name, values)) for flag, values in others.items())
    return "; ".join([usual, *(f"with {flag} {value}" for flag, value in with_flags if value != usual)])


def _default(name: str, by_arch: Mapping[str, Any]) -> str:
    """Return one value, or one an architecture where they differ."""
    values = {arch: _shown(name, getattr(known, name)) for arch, known in by_arch.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{arch}: {value}" for arch, value in values.items())


def _shown(name: str, value: object) -> str:
    """Return a value as it is given on the command line."""
    if isinstance(value, bool):
        return f"{'' if value else 'no-'}{name.replace('_', '-')}"
    return "none" if value == "" else str(value)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
