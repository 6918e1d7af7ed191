"""The pages' templates, in stages/templates."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.reporting.tables import table

FOLDER = Path(__file__).parent.parent / "templates"
MAX_BYTES = 4_000_000  # of one page


def render(template: str, **values: Any) -> str:
    """A page as HTML. One that is too large for a page to open quickly is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["table"] = table
    page = environment.get_template(template).render(**values)
    if (size := len(page.encode())) >= MAX_BYTES:
        raise ValueError(
            f"the page of {template} has {size} bytes, expected less than {MAX_BYTES}: let evaluate write fewer or smaller "
            "pictures"
        )
    return page
