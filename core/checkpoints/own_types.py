"""Bringing back from a checkpoint, as themselves, also the types of data that a project defines.

LangGraph's serializer is told once which types it may make. Those of a project are not known then: a node may
import the module that defines one while it runs. So it is asked about each.
Invariant: what is not allowed comes back as plain data, and nothing of it is imported (docs/decisions/0008).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer, _create_msgpack_ext_hook

from core.checkpoints.kept import KeptSerializer

IsOwn = Callable[[str, str], bool]


def allow_own_types(saver: BaseCheckpointSaver[Any], is_own: IsOwn) -> BaseCheckpointSaver[Any]:
    """The saver, reading also what ``is_own`` (module, name) allows; one that allows everything stays as it is."""
    known = getattr(saver.serde, "_allowed_msgpack_modules", True)
    if known is True:
        return saver
    clone = copy.copy(saver)
    clone.serde = _Serializer(is_own, known or ())
    return clone


class _Serializer(KeptSerializer):
    def __init__(self, is_own: IsOwn, known: Iterable[tuple[str, ...]]) -> None:
        super().__init__(allowed_msgpack_modules=None)
        self._is_own = is_own
        self._known = frozenset(known)
        self._unpack_ext_hook = _create_msgpack_ext_hook(_Allowed(self._known, is_own))

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> JsonPlusSerializer:
        """The same with these types as well, as a graph within a graph asks for its own."""
        extra = {(one.__module__, one.__name__) if isinstance(one, type) else one for one in extra_allowlist}
        return self if extra <= self._known else _Serializer(self._is_own, self._known | extra)


class _Allowed(set[tuple[str, ...]]):
    def __init__(self, known: Iterable[tuple[str, ...]], is_own: IsOwn) -> None:
        super().__init__(known)
        self._is_own = is_own

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, tuple) and self._is_own(str(key[0]), str(key[1])))
