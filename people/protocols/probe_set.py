"""Identification and verification: probe clips against a gallery of enrolled clips."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProbeSet:
    """One column of a protocol's table: the enrolled clips (gallery) and the clips to be identified among them (probes)."""

    name: str
    group: str
    gallery: tuple[str, ...]
    probes: tuple[str, ...]
