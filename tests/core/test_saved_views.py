"""Saved views: filters under a name, its owner's to change and anybody's to open."""

from collections.abc import Callable

import pytest

from core.access.viewer import Viewer
from core.errors import BadInputError, NotFoundError
from core.history.saved_views import delete_view, get_view, list_views, save_view
from core.skein import Skein

Person = Callable[..., Viewer]


def names(skein: Skein, viewer: Viewer, page: str = "calls") -> list[tuple[str, str]]:
    with skein.database.read() as db:
        return [(view.name, view.query) for view in list_views(viewer, db, page)]


class TestSaving:
    def test_a_view_is_kept_as_it_was_given_in_any_language(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        view_id = save_view(alice, opened.database, "calls", "  错误  周一 ", "statuses=error&text=你好")
        with opened.database.read() as db:
            view = get_view(alice, db, view_id)
        kept = (view.view_id, view.user_id, view.user_name, view.page, view.name, view.query)
        assert kept == (view_id, alice.user_id, "alice", "calls", "错误 周一", "statuses=error&text=你好")

    def test_the_same_name_is_replaced_and_keeps_its_link(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        ids = [save_view(alice, opened.database, "calls", "slow", query) for query in ("min_ms=1", "min_ms=2")]
        assert (ids[0] == ids[1], names(opened, alice)) == (True, [("slow", "min_ms=2")])

    def test_the_same_name_on_another_page_or_of_another_person_is_another_view(
        self, opened: Skein, person: Person
    ) -> None:
        alice, bob = person("alice"), person("bob")
        save_view(alice, opened.database, "calls", "mine", "a=1")
        save_view(alice, opened.database, "browse", "mine", "a=2")
        save_view(bob, opened.database, "calls", "mine", "a=3")
        seen = [names(opened, alice), names(opened, alice, "browse"), names(opened, bob)]
        assert seen == [[("mine", "a=1")], [("mine", "a=2")], [("mine", "a=3")]]

    @pytest.mark.parametrize(
        ("name", "query"), [("", "a=1"), (" \0\t ", "a=1"), ("n" * 81, "a=1"), ("n", "q" * 4001)]
    )
    def test_what_cannot_be_kept_is_refused(self, opened: Skein, person: Person, name: str, query: str) -> None:
        alice = person("alice")
        with pytest.raises(BadInputError):
            save_view(alice, opened.database, "calls", name, query)
        assert names(opened, alice) == []

    def test_the_longest_name_and_query_are_kept(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        save_view(alice, opened.database, "calls", "名" * 80, "q" * 4000)
        assert names(opened, alice) == [("名" * 80, "q" * 4000)]

    def test_a_person_has_a_hundred_and_can_still_replace_one(self, opened: Skein, person: Person) -> None:
        alice, bob = person("alice"), person("bob")
        for number in range(100):
            save_view(alice, opened.database, "calls", f"view {number:03}", "")
        with pytest.raises(BadInputError, match="100 saved views"):
            save_view(alice, opened.database, "browse", "one more", "")
        save_view(alice, opened.database, "calls", "view 000", "changed")
        save_view(bob, opened.database, "calls", "his first", "")
        found = names(opened, alice)
        assert (len(found), found[0], names(opened, bob)) == (100, ("view 000", "changed"), [("his first", "")])


class TestWhoMayWhat:
    def test_anybody_may_open_a_view_by_its_id_but_it_is_listed_for_its_owner_only(
        self, opened: Skein, person: Person
    ) -> None:
        alice, bob, boss = person("alice"), person("bob"), person("boss", role="admin")
        view_id = save_view(alice, opened.database, "calls", "shared", "hour=3")
        with opened.database.read() as db:
            opened_by = [get_view(viewer, db, view_id).query for viewer in (alice, bob, boss)]
        assert opened_by == ["hour=3"] * 3
        assert [names(opened, viewer) for viewer in (alice, bob, boss)] == [[("shared", "hour=3")], [], []]

    def test_only_its_owner_deletes_it(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        view_id = save_view(alice, opened.database, "calls", "mine", "")
        for other in (person("bob"), person("boss", role="admin")):
            with pytest.raises(NotFoundError):
                delete_view(other, opened.database, view_id)
        assert names(opened, alice) == [("mine", "")]
        delete_view(alice, opened.database, view_id)
        assert names(opened, alice) == []

    @pytest.mark.parametrize(
        "view_id", ["view_1700000000000_000000000000", "", "nonsense", "'; DROP TABLE saved_view"]
    )
    def test_a_view_that_is_not_there_is_not_found(self, opened: Skein, person: Person, view_id: str) -> None:
        alice = person("alice")
        with opened.database.read() as db, pytest.raises(NotFoundError):
            get_view(alice, db, view_id)
        with pytest.raises(NotFoundError):
            delete_view(alice, opened.database, view_id)
