"""`neptun-mcp demo`."""

from __future__ import annotations

from tests.processes import run


def test_demo_shows_a_whole_conversation() -> None:
    ran = run("demo")
    assert (ran.code, ran.stderr) == (0, "")
    before, _, after = ran.stdout.partition("\n>>> delete_import(project_id=1, import_id=105)\n")
    assert before.startswith("connected to neptun-mcp, MCP 2026-07-28; its tools:\n")
    for tool in ("list_imports", "list_resources", "delete_import"):
        assert f"\n  {tool}: " in before
    assert "checkout-forms" in before
    for resource_type in ("user-files", "template-collections", "github-installations", "chat-conversations"):
        assert f"\n>>> list_resources(project_id=1, resource_type='{resource_type}', limit=2)\n" in before
    assert "\nthe person is asked: Delete import 105 of project 1 from Neptun?" in after
    assert "\nthe person answers:  yes\ndeleted: True" in after
    assert "\n>>> list_imports(project_id=1)\nproject_id: 1   total: 6\n" in after
    assert "checkout-forms" not in after.partition(">>> list_imports")[2]
