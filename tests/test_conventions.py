"""What every file must keep to, read from the files themselves."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path for path in (ROOT / "pages").glob("*.py") if path.stem != "__init__")
PARTS = sorted((ROOT / "pages" / "parts").rglob("*.py"))
CORE = sorted(path for path in (ROOT / "core").rglob("*.py") if "migrations" not in path.parts)
SOURCES = sorted([ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "core").rglob("*.py")])
MARKDOWN = {"caption", "error", "info", "markdown", "success", "toast", "warning", "write"}
LABELS = {
    "badge",
    "button",
    "checkbox",
    "download_button",
    "expander",
    "form_submit_button",
    "menu_button",
    "metric",
}
LABELS |= {
    "number_input",
    "page_link",
    "popover",
    "progress",
    "radio",
    "selectbox",
    "status",
    "text_area",
    "toggle",
}
LABELS |= {"dialog", "header", "link_button", "multiselect", "pills", "segmented_control", "slider", "text_input"}
FITTING = {"plain", "plain_lines", "as_markdown", "as_written"}
# Fields that hold what somebody wrote.
OUTSIDE = {
    "answer",
    "comment",
    "content",
    "created_by_name",
    "description",
    "error_message",
    "model",
    "name",
    "node",
}
OUTSIDE |= {"note", "owner", "problem", "question", "text", "title", "user_name"}
GUARDS = {"require_viewer", "require_admin"}
# What a person does with these is done in their callback: the script's body may end before it comes to it.
DEEDS = {"button", "chat_input", "form_submit_button", "menu_button"}
# Only this one knows how a page keeps its end when a clock fires; the chat, which shows answers, has no clock.
CLOCKS = {"pages/parts/ui/watch.py"}
SETTING = re.compile(r"\b(?:SKEIN|OPENAI)_[A-Z][A-Z_]*[A-Z]\b")
# What the tests' own runner reads is no setting of Skein.
FOR_TESTS = {"SKEIN_TEST_BROWSER"}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def first_deed(page: Path) -> ast.stmt | None:
    """What the page does first: the first statement that is no docstring, import, definition or constant.

    A page that hands over to its own ``main()`` does first what that does first.
    """
    tree = parsed(page)
    passive = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    deeds = [node for node in tree.body if not isinstance(node, passive) and not _is_constant(node)]
    first = deeds[0] if deeds else None
    if first is not None and _called(first) == "main" and not first.value.args:  # type: ignore[attr-defined]
        main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
        return next(node for node in main.body if not _is_constant(node))
    return first


def _is_constant(node: ast.stmt) -> bool:
    """A docstring, or an assignment that calls nothing of Streamlit's or ours."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    calls_something = any(_name_of(inner) in GUARDS | {"main"} for inner in ast.walk(node))
    return isinstance(node, (ast.Assign, ast.AnnAssign)) and not calls_something and not _uses(node, "st")


def _called(node: ast.stmt) -> str:
    value = getattr(node, "value", None)
    return _name_of(value) if isinstance(node, (ast.Expr, ast.Assign)) else ""


def _name_of(node: ast.AST | None) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _uses(node: ast.AST, module: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == module for inner in ast.walk(node))


def attributes(path: Path) -> set[str]:
    """All that is reached through ``st``: ``session_state``, ``cache_data``."""
    return {
        node.attr
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "st"
    }


def as_it_came(path: Path) -> list[int]:
    """The lines on which Streamlit is given for Markdown what people, models and errors say, as it came."""
    nodes = list(ast.walk(parsed(path)))
    caught = {node.name for node in nodes if isinstance(node, ast.ExceptHandler)}
    shown = [node for node in nodes if isinstance(node, ast.Call) and node.args and _is_shown(node.func)]
    given = [(call.lineno, argument) for call in shown for argument in [call.args[0], *_tips(call)]]
    outside = caught | {"problem", "notice"}
    return [line for line, argument in given if _names_in(argument) & outside or _fields_in(argument) & OUTSIDE]


def _tips(call: ast.Call) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords if keyword.arg in {"help", "label"}]


def _is_shown(func: ast.expr) -> bool:
    """``st.error``, also as one of two: ``(st.error if ... else st.info)``."""
    reached = [node for node in ast.walk(func) if isinstance(node, ast.Attribute) and _uses(node.value, "st")]
    return any(node.attr in MARKDOWN | LABELS for node in reached)


def acted_on(path: Path) -> list[int]:
    """The lines on which the body acts on a click: where what a button gives is not thrown away."""
    nodes = list(ast.walk(parsed(path)))
    thrown_away = {node.value for node in nodes if isinstance(node, ast.Expr)}
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [call.lineno for call in calls if call.func.attr in DEEDS and call not in thrown_away]  # type: ignore[attr-defined]


def clocks(path: Path) -> list[int]:
    """The lines on which a fragment is given a clock."""
    return [node.value.lineno for node in ast.walk(parsed(path)) if _gives_clock(node)]  # type: ignore[attr-defined]


def _gives_clock(node: ast.AST) -> bool:
    is_given = isinstance(node, ast.keyword) and node.arg == "run_every"
    return is_given and not (isinstance(node.value, ast.Constant) and node.value.value is None)  # type: ignore[attr-defined]


def _names_in(node: ast.AST) -> set[str]:
    """The names, and last parts of names, that an expression is made of, but not of what makes them fit."""
    if _name_of(node) in FITTING:
        return set()
    own = {getattr(node, "id", None) or getattr(node, "attr", "")}
    return own.union(*(_names_in(inner) for inner in ast.iter_child_nodes(node)))


def _fields_in(node: ast.AST) -> set[str]:
    """The fields of objects that an expression shows, but not those that are asked, called with, or made fit."""
    if _name_of(node) in FITTING or isinstance(node, ast.Compare):
        return set()
    if isinstance(node, ast.Call):
        inner: list[ast.AST] = [node.func.value] if isinstance(node.func, ast.Attribute) else []
    elif isinstance(node, ast.IfExp):
        inner = [node.body, node.orelse]
    else:
        inner = list(ast.iter_child_nodes(node))
    own = {node.attr} if isinstance(node, ast.Attribute) else set()
    return own.union(*map(_fields_in, inner))


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=name)
    def test_a_page_first_asks_who_is_there(self, page: Path):
        first = first_deed(page)
        assert first is not None
        assert _called(first) in GUARDS

    def test_the_page_of_accounts_asks_for_an_admin(self):
        first = first_deed(ROOT / "pages" / "admin.py")
        assert first is not None
        assert _called(first) == "require_admin"

    @pytest.mark.parametrize("path", [*PAGES, *PARTS], ids=name)
    def test_what_somebody_says_is_never_taken_for_markdown(self, path: Path):
        assert as_it_came(path) == []

    @pytest.mark.parametrize("path", [*PAGES, *PARTS], ids=name)
    def test_what_a_person_does_is_done_in_a_callback(self, path: Path):
        assert acted_on(path) == []

    def test_one_module_keeps_the_clock(self):
        having = {name(path) for path in [*PAGES, *PARTS] if clocks(path)}
        assert having == CLOCKS

    def test_session_state_has_one_owner(self):
        owners = [name(path) for path in [*PAGES, *PARTS] if "session_state" in attributes(path)]
        assert owners == ["pages/parts/ui/state.py"]

    def test_only_one_module_may_cache(self):
        caching = {name(path) for path in [*PAGES, *PARTS] if {"cache_data", "cache_resource"} & attributes(path)}
        assert caching <= {"pages/parts/ui/resources.py"}

    def test_state_keys_are_named_after_their_page_and_differ(self):
        assigned = [node for node in parsed(ROOT / "pages/parts/ui/state.py").body if isinstance(node, ast.Assign)]
        keys = [key.value for node in assigned for key in ast.walk(node.value) if isinstance(key, ast.Constant)]
        assert keys == list(dict.fromkeys(keys))
        assert [key for key in keys if "." not in str(key)] == ["show"]


class TestCore:
    @pytest.mark.parametrize("path", CORE, ids=name)
    def test_a_module_begins_with_its_idea_and_knows_no_streamlit(self, path: Path):
        assert ast.get_docstring(parsed(path)), "a module begins with a docstring"
        assert [module for module in imported(path) if module.split(".")[0] in {"streamlit", "pages"}] == []


class TestSettings:
    def test_every_setting_is_in_the_readme_and_no_other(self):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert set(SETTING.findall(readme)) - FOR_TESTS == {variable(field) for field in Settings.model_fields}


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return field.upper() if field.startswith("openai_") else f"SKEIN_{field.upper()}"


class TestSources:
    @pytest.mark.parametrize("path", SOURCES, ids=name)
    def test_no_source_names_a_place_on_a_machine(self, path: Path):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"[\"'\s(](/(?:work|tmp|home|root|Users)/\S*)", text) == []


class TestPlainCode:
    @pytest.mark.parametrize("path", SOURCES, ids=name)
    def test_no_choice_stands_in_a_choice(self, path: Path):
        choices = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.IfExp)]
        nested = [
            one.lineno
            for one in choices
            if any(isinstance(inner, ast.IfExp) for inner in ast.iter_child_nodes(one))
        ]
        assert nested == []
