"""Let `dvc plots show` and `dvc plots diff` draw without a network: a page template that holds Vega itself.

    python -m pipelines.plots_page

DVC's own page loads Vega from another server. This writes .dvc/plots.html with the copy of Vega, Vega-Lite and Vega-Embed that
vl-convert brings, and names it in .dvc/config.local. Until then DVC's own page is drawn.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import vl_convert

from pipelines import commands

TEMPLATE = Path(".dvc/plots.html")
VEGA_LITE = "5.21"  # a release of the schema that DVC's templates name, version 5
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>Plots</title>
<style>body {{ font-family: sans-serif; margin: 2rem }} table {{ border-spacing: 15px }}</style>
<script>
(() => {{
{bundle}
}})();
</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args(arguments)
    if not TEMPLATE.parent.is_dir():
        raise SystemExit(f"{TEMPLATE.parent} is missing in {Path.cwd()}: expected the project's root folder; go there")
    partial = TEMPLATE.with_name(f"{TEMPLATE.name}.partial")
    partial.write_text(page(), encoding="utf-8")
    os.replace(partial, TEMPLATE)
    commands.run(["dvc", "config", "--local", "plots.html_template", TEMPLATE.name], print)
    print(f"dvc plots show and dvc plots diff draw with {TEMPLATE}, which needs no network")


def page() -> str:
    """DVC's page template with Vega in it; DVC fills in the plots."""
    return PAGE.format(bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))


if __name__ == "__main__":
    main()
