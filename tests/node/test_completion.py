"""How a word of a prompt could go on."""

from pathlib import Path

import pytest

from node import completion
from node.completion import Asked, asked_for, commands, files


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ("/", Asked("command", "/", "")),
        ("/ski", Asked("command", "/ski", "ski")),
        ("/skill x", None),
        ("look at /etc", None),
        ("look at @", Asked("file", "@", "")),
        ("look at @src/ma", Asked("file", "@src/ma", "src/ma")),
        ('look at @"my fi', Asked("file", '@"my fi', "my fi")),
        ("@a b", None),
        ("ann@example", None),
        ("line\n@x", Asked("file", "@x", "x")),
        ("", None),
    ],
)
def test_what_the_end_of_a_text_asks_for(before: str, asked: Asked | None) -> None:
    assert asked_for(before) == asked


def test_commands_that_begin_like_it_come_first_and_skills_are_found_by_their_own_name() -> None:
    known = [
        {"name": "preview", "kind": "command"},
        {"name": "skill:review", "kind": "skill", "description": "reads"},
        {"name": "other", "kind": "prompt"},
    ]
    assert [item["text"] for item in commands("rev", known)] == ["/skill:review ", "/preview "]
    assert commands("rev", known)[0] == {"text": "/skill:review ", "kind": "skill", "description": "reads"}
    assert commands("zzz", known) == []


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        names = ("src/main.py", "src/domain/mainly.py", "docs/my notes.md", ".env", "node_modules/main.js")
        for name in names:
            (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "project" / name).write_text("")
        return tmp_path / "project"

    def test_the_nearest_fit_is_first_and_what_nobody_means_is_left_out(self, folder: Path) -> None:
        found = [item["text"] for item in files(str(folder), "main")]
        assert found == ["@src/main.py ", "@src/domain/mainly.py ", "@src/domain/"]

    def test_a_path_narrows_it_down(self, folder: Path) -> None:
        assert [item["text"] for item in files(str(folder), "src/domain/")] == ["@src/domain/mainly.py "]
        assert files(str(folder), "src/nothing") == []

    def test_a_folder_is_left_open_and_a_name_with_spaces_is_quoted(self, folder: Path) -> None:
        assert files(str(folder), "doc")[0] == {"text": "@docs/", "kind": "folder", "description": ""}
        assert files(str(folder), "my ")[0]["text"] == '@"docs/my notes.md" '

    def test_hidden_ones_are_for_who_asks_for_them(self, folder: Path) -> None:
        assert "@.env " not in [item["text"] for item in files(str(folder), "")]
        assert [item["text"] for item in files(str(folder), ".e")] == ["@.env "]

    @pytest.mark.parametrize("query", ["../", "../secret", "/etc/pass", "src/../../secret", "out/", "out/s"])
    def test_nothing_leads_out_of_the_folder(self, folder: Path, query: str) -> None:
        (folder.parent / "secret.txt").write_text("")
        (folder / "out").symlink_to(folder.parent)
        assert files(str(folder), query) == []

    def test_a_link_is_named_and_not_followed(self, folder: Path) -> None:
        (folder.parent / "secret.txt").write_text("")
        (folder / "out").symlink_to(folder.parent)
        assert [item["text"] for item in files(str(folder), "out")] == ["@out "]
        assert files(str(folder), "secret") == []

    def test_what_does_not_exist_has_no_files(self, folder: Path) -> None:
        assert files(str(folder / "gone"), "") == []

    def test_a_folder_of_very_many_costs_no_more_than_its_bound(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(completion, "MAX_SCANNED", 3)
        assert len(files(str(folder), "")) <= 3
