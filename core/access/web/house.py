"""What the door needs to know of the house behind it; both ends agree on it here."""

from collections.abc import Callable
from typing import Protocol

from core.database import Database
from core.settings import Settings


class House(Protocol):
    """The open application, as far as the door is concerned."""

    @property
    def settings(self) -> Settings: ...

    @property
    def database(self) -> Database: ...

    @property
    def secret_key(self) -> str: ...


OpenHouse = Callable[[], House]
