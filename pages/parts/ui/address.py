"""The address of a page: all that says what it shows, so that reload, Back and a shared link give the same.

Invariant: a change keeps whatever else the address says, and leaves out what has no value.
"""

from collections.abc import Collection, Iterable, Mapping

import streamlit as st


def address() -> dict[str, list[str]]:
    """The address's parameters as they are now."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def change(changes: Mapping[str, Iterable[str]], *, without: Collection[str] = ()) -> None:
    """Change the address: no values take a parameter out, and so does its name in ``without``."""
    query = {name: values for name, values in address().items() if name not in without}
    query |= {name: list(values) for name, values in changes.items()}
    st.query_params.from_dict({name: values for name, values in query.items() if values})
