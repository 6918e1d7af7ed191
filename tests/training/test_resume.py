"""Which code an unfinished training depends on: what its modules can import, and nothing else."""

from pathlib import Path

import pytest

from people.training import resume


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of five modules: a imports b in a function and c.d at its top; e is imported by nobody."""
    root = tmp_path / "people"
    sources = {
        "__init__.py": "",
        "a.py": "import torch\nfrom people.c import d\ndef late():\n    from people import b\n",
        "b.py": "",
        "c/__init__.py": "from people.c.f import value\n",
        "c/d.py": "",
        "c/f.py": "value = 1\n",
        "e.py": "from people import a\n",
    }
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(resume, "LIBRARY", root)
    return root


def test_reachable_are_imports_at_any_depth_and_the_packages_around_them(library: Path):
    assert set(resume.reachable(["people.a"])) == {"people", "people.a", "people.b", "people.c", "people.c.d", "people.c.f"}
    assert set(resume.reachable(["people.e"])) == {*resume.reachable(["people.a"]), "people.e"}
    assert resume.reachable(["torch.nn", "people.none"]) == {}


@pytest.mark.parametrize(("name", "changes"), [("b.py", True), ("c/f.py", True), ("__init__.py", True), ("e.py", False)])
def test_a_change_of_reachable_code_changes_the_digest_and_no_other_does(library: Path, name: str, changes: bool):
    before = resume.source_digest(["people.a"])
    (library / name).write_text((library / name).read_text() + "# changed\n")
    assert (resume.source_digest(["people.a"]) != before) is changes


def test_a_new_module_changes_no_digest_until_it_is_imported(library: Path):
    before = resume.source_digest(["people.a"])
    (library / "c" / "new.py").write_text("")
    assert resume.source_digest(["people.a"]) == before
    (library / "b.py").write_text("from people.c import new\n")
    assert resume.source_digest(["people.a"]) != before
