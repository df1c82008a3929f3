"""What a browser sends up: what is too much comes through as a note of its name and size."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pages.parts.ui import uploads
from pages.parts.ui.uploads import MOST_HELD, MOST_HELD_FILES, UploadBounds, refusal_of


async def _take(request: Request) -> JSONResponse:
    async with request.form() as form:
        (file,) = form.values()
        data = await file.read()
    return JSONResponse({"name": file.filename, "size": len(data), "refused": refusal_of(file.filename, data)})


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the files that the tab has in memory; there is no running Streamlit here."""
    sizes: list[int] = []
    monkeypatch.setattr(uploads, "_held", lambda tab: sizes)
    return sizes


def send(name: str, data: bytes) -> dict[str, object]:
    app = Starlette(routes=[Route("/_stcore/upload_file/{tab}/{file}", _take, methods=["PUT"])])
    client = TestClient(UploadBounds(app))
    return client.put("/_stcore/upload_file/tab/1", files={"file": (name, data)}).json()


def test_a_usual_file_comes_through_whole(held: list[int]) -> None:
    assert send("für.txt", b"words") == {"name": "für.txt", "size": 5, "refused": ""}


def test_of_a_large_one_only_its_name_and_size(held: list[int]) -> None:
    found = send("für.txt", b"x" * 11_000_000)
    assert found["refused"] == "“für.txt” has 11.0 MB; a file has at most 10 MB."
    assert int(str(found["size"])) < 100


@pytest.mark.parametrize("kept", [[1] * MOST_HELD_FILES, [MOST_HELD]])
def test_nor_is_more_kept_for_a_tab_than_it_may_have(held: list[int], kept: list[int]) -> None:
    held += kept
    assert "too many files" in str(send("a.txt", b"words")["refused"])


def test_a_note_cannot_be_sent_up(held: list[int]) -> None:
    assert send("a.txt", b"large 1000")["refused"] == ""
