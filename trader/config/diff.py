"""What a new configuration changes, and what each change needs to come into force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo

from trader.config.problems import section_at
from trader.config.sections import Config, SecretConfig, Section


class Needs(StrEnum):
    """What has to happen before a changed key is in force, weakest first."""

    HOT = "hot"  #: applied between two cycles
    ENGINE = "engine"  #: the engine is restarted
    MONITOR = "monitor"  #: the monitor is restarted
    DASHBOARD = "dashboard"  #: the dashboard is restarted
    SERVICE = "service"  #: refused on reload; stop and start the service


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value differs."""

    key: str  #: dotted path
    old: Any
    new: Any
    needs: Needs

    def __str__(self) -> str:
        return f"{self.key}: {_text(self.old)} -> {_text(self.new)}"


def changes(old: Config, new: Config) -> list[Change]:
    """Return every key whose value differs, in the order of the models.

    Parameters
    ----------
    old, new : Config
        The configuration in force, and the one to come.

    Returns
    -------
    list of Change
        Empty when nothing differs.
    """
    return _between(old, new, "")


def workers(found: Sequence[Change]) -> frozenset[str]:
    """Return the roles that have to be restarted for some changes to come into force."""
    return frozenset(str(change.needs) for change in found) & {"engine", "monitor", "dashboard"}


def refused(found: Sequence[Change]) -> list[Change]:
    """Return the changes that a running service can not take: they need a stop and a start."""
    return [change for change in found if change.needs is Needs.SERVICE]


def needs_of(info: FieldInfo) -> Needs:
    """Return what a change of a key needs, as its model says; `hot` where it says nothing."""
    extra = info.json_schema_extra
    return Needs(str(extra.get("reload", "hot"))) if isinstance(extra, dict) else Needs.HOT


def _between(old: Section, new: Section, prefix: str) -> list[Change]:
    found: list[Change] = []
    for name, info in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if not prefix and section_at((name,)) is not None:
            found += _between(before, after, f"{name}.")
        else:
            found.append(Change(prefix + name, before, after, needs_of(info)))
    return found


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretConfig):
        return value.model_dump_json(exclude_none=True)
    if isinstance(value, Section):
        return str(value.model_dump(mode="json", exclude_defaults=True))
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return str(value)
