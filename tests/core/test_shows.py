"""What a tool gives to be drawn comes out bounded, plain and loading nothing, whatever was put in."""

import base64
import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import ToolMessage
from PIL import Image
from pydantic_core import to_json

from core.runs.charts import LARGEST_ROWS, LARGEST_SPEC, MOST_CHART_ROWS
from core.runs.events import plain
from core.runs.shows import (
    LARGEST_IMAGE,
    LONGEST_CELL,
    MOST_COLUMNS,
    MOST_ROWS,
    MOST_SHOWS,
    WIDEST,
    has_shows,
    safe_shows,
)

BARS: dict[str, Any] = {
    "mark": "bar",
    "encoding": {"x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "aggregate": "sum"}},
    "data": {"values": [{"a": "x", "b": 1}]},
}


def message(*shows: Any, content: Any = "") -> ToolMessage:
    return ToolMessage(content, tool_call_id="x", artifact={"shows": list(shows)} if shows else None)


def shown(show: Any) -> dict[str, Any]:
    (one,) = safe_shows(message(show))
    return one


def picture(size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", *, noise: bool = False) -> str:
    image = Image.effect_noise(size, 100).convert(mode) if noise else Image.new(mode, size)
    content = BytesIO()
    image.save(content, kind, **({"compress_level": 1} if noise else {}))
    return base64.b64encode(content.getvalue()).decode()


def opened(show: dict[str, Any]) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(show["base64"])))


class TestATable:
    def test_is_kept_as_it_is(self) -> None:
        table = {"type": "table", "columns": ["a", "b"], "rows": [[1, "x"], [2.5, None]], "title": "Two"}
        assert shown(table) == table

    def test_may_have_its_rows_by_name_or_too_short_or_too_long(self) -> None:
        rows = [{"b": 2, "a": 1, "c": 3}, [1], [1, 2, 3], "alone"]
        table = shown({"type": "table", "columns": ["a", "b"], "rows": rows})
        assert table["rows"] == [[1, 2], [1, None], [1, 2], ["alone", None]]

    def test_is_cut_and_says_so(self) -> None:
        columns = [f"c{n}" for n in range(100)]
        table = shown({"type": "table", "columns": columns, "rows": [["x" * 10_000] * 100] * 1_000})
        assert (len(table["rows"]), len(table["columns"])) == (MOST_ROWS, MOST_COLUMNS)
        assert {len(row) for row in table["rows"]} == {MOST_COLUMNS}
        assert len(table["rows"][0][0]) < LONGEST_CELL + 50
        assert table["note"] == "200 of 1,000 rows and 30 of 100 columns are kept."

    def test_has_no_two_columns_of_one_name(self) -> None:
        assert shown({"type": "table", "columns": ["a", "a", 1, "a"], "rows": []})["columns"] == [
            "a",
            "a (2)",
            "1",
            "a (3)",
        ]

    def test_holds_what_a_browser_can(self) -> None:
        cells = [float("nan"), float("inf"), 2**80, b"\xff", {"a": [1]}, "a\0\x1b[31mb", True]
        table = shown({"type": "table", "columns": list("abcdefg"), "rows": [cells]})
        assert table["rows"] == [[None, None, str(2**80), "_w==", '{"a":[1]}', "ab", True]]


class TestAChart:
    def test_is_kept_as_it_is(self) -> None:
        assert shown({"type": "chart", "spec": BARS}) == {"type": "chart", "spec": BARS}

    @pytest.mark.parametrize(
        "evil",
        [
            {"data": {"url": "https://evil.example/a.json"}},
            {"data": {"values": "a,b", "url": "//evil.example"}},
            {"data": {"sequence": {"start": 0, "stop": 1e12}}},
            {"usermeta": {"embedOptions": {"loader": {"baseURL": "https://evil.example"}}}},
            {"mark": {"type": "image", "url": "https://evil.example/a.png"}},
            {"mark": {"type": "bar", "href": "https://evil.example"}},
            {"mark": {"type": "bar", "cursor": "url(https://evil.example/c.cur), auto"}},
            {"mark": {"type": "bar", "fill": "url(//evil.example/a.svg#x)"}},
            {"encoding": {"href": {"field": "a"}, "url": {"field": "a"}}},
            {"encoding": {"x": {"field": "a", "axis": {"labelExpr": "alert(1)"}}}},
            {"encoding": {"color": {"condition": {"test": "alert(1)", "value": "red"}}}},
            {"transform": [{"calculate": "alert(1)", "as": "b"}]},
            {"transform": [{"filter": "alert(1)"}]},
            {"transform": [{"filter": {"and": ["alert(1)"]}}]},
            {"transform": [{"filter": {"not": "alert(1)"}}]},
            {"transform": [{"filter": {"field": "a", "equal": {"expr": "alert(1)"}}}]},
            {"transform": [{"lookup": "a", "from": {"data": {"url": "https://evil.example"}, "key": "a"}}]},
            {"params": [{"name": "p", "expr": "alert(1)"}]},
            {"params": [{"name": "p", "bind": {"input": "text", "element": "#root"}}]},
            {"params": [{"name": "p", "select": {"type": "point", "on": "click[alert(1)]"}}]},
            {"layer": [{"mark": "bar", "data": {"url": "https://evil.example"}}]},
            {"title": {"text": {"signal": "alert(1)"}}},
            {"description": "javascript:alert(1)"},
        ],
    )
    def test_loads_links_and_computes_nothing(self, evil: dict[str, Any]) -> None:
        show = shown({"type": "chart", "spec": {**BARS, **evil}})
        text = json.dumps(show["spec"])
        for word in ("evil", "alert", "url", "href", "element", "sequence", "loader"):
            assert word not in text
        assert show["note"].startswith("Left out of this chart: ")

    def test_may_still_compare_fields_and_be_zoomed(self) -> None:
        spec = {
            **BARS,
            "transform": [{"filter": {"field": "b", "gt": 1}}],
            "params": [{"name": "zoom", "select": "interval", "bind": "scales"}],
        }
        assert shown({"type": "chart", "spec": spec})["spec"] == spec

    def test_may_name_its_rows_as_altair_does(self) -> None:
        spec = {"mark": "bar", "data": {"name": "d"}, "datasets": {"d": [{"a": 1}]}}
        assert shown({"type": "chart", "spec": spec})["spec"] == spec

    def test_has_so_many_rows_and_no_more_in_all_its_layers(self) -> None:
        rows = [{"a": n} for n in range(4_000)]
        layer = {"mark": "bar", "data": {"values": rows}}
        show = shown({"type": "chart", "spec": {"layer": [layer, layer]}})
        counts = [len(one["data"]["values"]) for one in show["spec"]["layer"]]
        assert counts == [4_000, MOST_CHART_ROWS - 4_000]
        assert show["note"] == "Left out of this chart: rows beyond the first 5,000."

    def test_is_no_larger_than_a_screen_nor_has_it_countless_bins(self) -> None:
        spec = {**BARS, "width": 1e9, "encoding": {"x": {"field": "a", "bin": {"maxbins": 1e9}}}}
        safe = shown({"type": "chart", "spec": spec})["spec"]
        assert (safe["width"], safe["encoding"]["x"]["bin"]["maxbins"]) == (2_000, 1_000)

    @pytest.mark.parametrize(
        "spec",
        [
            None,
            "bar",
            {},
            {"marks": []},
            {**BARS, "description": ["x" * 1_000] * (LARGEST_SPEC // 1_000 + 1)},
            {**BARS, "data": {"values": [{f"f{n}": "x" * 200 for n in range(30)}] * (LARGEST_ROWS // 5_000)}},
            {**BARS, "encoding": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]},
            {**BARS, "encoding": list(range(30_000))},
        ],
    )
    def test_that_is_none_or_too_much_is_refused_in_a_sentence(self, spec: Any) -> None:
        show = shown({"type": "chart", "spec": spec})
        assert show["type"] == "refused"
        assert show["reason"].startswith("A chart was left out: ")

    @pytest.mark.timeout(30)
    def test_of_many_rows_does_not_hang(self) -> None:
        rows = [{f"f{n}": row * n for n in range(5)} for row in range(MOST_CHART_ROWS)]
        assert shown({"type": "chart", "spec": {**BARS, "data": {"values": rows}}})["type"] == "chart"


class TestAnImage:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
    def test_is_drawn_anew(self, kind: str) -> None:
        show = shown({"type": "image", "base64": picture((30, 20), kind)})
        assert (show["media_type"], opened(show).size) == ("image/png", (30, 20))

    @pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
    def test_of_any_mode_can_be_drawn(self, mode: str) -> None:
        show = shown({"type": "image", "base64": picture((30, 20), "TIFF" if mode == "CMYK" else "PNG", mode)})
        assert show["type"] == ("refused" if mode == "CMYK" else "image")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_that_is_large_becomes_small(self, mode: str) -> None:
        show = shown({"type": "image", "base64": picture((2_000, 1_000), mode=mode, noise=True)})
        image = opened(show)
        assert max(image.size) <= WIDEST
        assert image.width == 2 * image.height
        assert len(base64.b64decode(show["base64"])) <= LARGEST_IMAGE

    def test_loses_what_is_not_its_pixels(self) -> None:
        content, exif = BytesIO(), Image.Exif()
        exif[0x010E], exif[0x0112] = "where I live", 6
        Image.new("RGB", (40, 20)).save(content, "JPEG", exif=exif, comment=b"secret")
        image = opened(shown({"type": "image", "base64": base64.b64encode(content.getvalue()).decode()}))
        assert (image.size, dict(image.getexif())) == ((20, 40), {})

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (
                {"base64": base64.b64encode(b"<svg onload='alert(1)'/>").decode(), "media_type": "image/svg+xml"},
                "SVG",
            ),
            ({"base64": base64.b64encode(b"<svg onload='alert(1)'/>").decode()}, "no whole PNG"),
            ({"base64": picture((5_000, 5_000), mode="1")}, "pixels"),
            ({"base64": picture((300, 300), noise=True)[:4_000]}, "no whole PNG"),
            ({"base64": "!!!"}, "not base64"),
            ({"base64": None}, "addresses"),
            ({"base64": "A" * 31_000_000}, "larger than 30 MB"),
        ],
    )
    def test_that_is_none_is_refused_in_a_sentence(self, given: dict[str, Any], why: str) -> None:
        show = shown({"type": "image", **given})
        assert show["type"] == "refused"
        assert why in show["reason"]

    def test_is_found_among_content_blocks_of_either_form(self) -> None:
        data = picture((10, 10))
        content = [
            {"type": "text", "text": "look"},
            {"type": "image", "base64": data, "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            {"type": "image_url", "image_url": {"url": "https://evil.example/a.png"}},
            {"type": "image", "url": "https://evil.example/a.png"},
        ]
        shows = safe_shows(message(content=content))
        assert [show["type"] for show in shows] == ["image", "image", "refused", "refused"]
        assert "evil" not in json.dumps(shows)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(["table", "chart", "image", "other"])


class TestWhateverIsGiven:
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(KINDS, JSON_LIKE, JSON_LIKE)
    def test_is_plain_data_that_a_database_holds(self, kind: str, one: Any, other: Any) -> None:
        spec = {"mark": one, "data": {"values": other}, "encoding": other}
        show = {"type": kind, "columns": one, "rows": other, "spec": spec, "base64": one, "title": other}
        safe = safe_shows(message(show, one))
        assert plain(safe) == safe
        assert b"\\u0000" not in to_json(safe)

    def test_is_at_most_so_many(self) -> None:
        table = {"type": "table", "columns": ["a"], "rows": [[1]]}
        shows = safe_shows(message(*[table] * 100))
        assert [show["type"] for show in shows] == ["table"] * MOST_SHOWS + ["refused"]

    def test_is_small_enough_all_together(self) -> None:
        image = {"type": "image", "base64": picture((1_200, 1_200), noise=True)}
        assert len(to_json(safe_shows(message(*[image] * 5)))) < 5 * LARGEST_IMAGE * 4 / 3 + 1_000

    @pytest.mark.parametrize("artifact", [None, "text", [], {"shows": None}, {"shows": {}}, {"other": 1}])
    def test_may_be_nothing(self, artifact: Any) -> None:
        assert not has_shows(ToolMessage("", tool_call_id="x", artifact=artifact))
