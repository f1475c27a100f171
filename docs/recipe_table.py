"""Write the README's table of the recipe's keys from `hxn_ptycho.Recipe`."""

from __future__ import annotations

from pathlib import Path

from hxn_ptycho.recipe import Recipe

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- recipe: made by `make docs` -->\n", "<!-- /recipe -->\n"


def table() -> str:
    """Return the table in Markdown: key, default, what it means."""
    recipe = Recipe()
    rows = ["| key | default | what |", "| --- | --- | --- |"]
    for name, field in Recipe.model_fields.items():
        if name == "version":
            continue
        default = getattr(recipe, name)
        text = f"`{default}`" if default is not None else ""
        rows.append(f"| `{name}` | {text} | {field.description} |")
    return "\n".join(rows) + "\n"


def renewed(text: str) -> str:
    """Return a README with the table in its place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md lacks the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + table() + end + after


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
