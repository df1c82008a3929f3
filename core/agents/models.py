"""Chat models: one OpenAI-compatible server, and the offline demo model that needs nothing.

Graphs ask for a model by name and get a ready one; what a model's failure means to a person is said here too.
Invariant: the key goes from the settings into the client and nowhere else; no sentence made here holds it,
or anything that a person or a model wrote.
"""

import re
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from json import JSONDecodeError
from typing import Any

from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from core.agents.demo import DemoChatModel
from core.calls.context import KEY_SOURCE_KEY
from core.errors import BadInputError
from core.settings import DEMO_MODEL, Settings

_OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "no-key-needed"
_MODELS_KEPT = 64


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be chosen; an offline one costs nothing and asks no language model."""

    name: str
    label: str
    offline: bool


class ChatModels:
    """Hands out chat models by name, one object per name and temperature."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made = lru_cache(maxsize=_MODELS_KEPT)(self._make)
        self._client: Any = None
        self._sync_client: Any = None
        self._traits: Any = None

    def get(self, name: str = "", *, temperature: float | None = None) -> BaseChatModel:
        """Give the model of this name; without a name or temperature, those of the settings."""
        chosen = self._settings.temperature if temperature is None else temperature
        with self._lock:
            return self._made(name or self._settings.default_model, float(chosen))

    async def aclose(self) -> None:
        """Close the connections to the server; await it in the loop that asked the models, before it ends."""
        with self._lock:
            client, self._client = self._client, None
            sync_client, self._sync_client = self._sync_client, None
            self._made.cache_clear()
        if client is not None:
            await client.aclose()
        if sync_client is not None:
            sync_client.close()

    def offered(self) -> list[ModelInfo]:
        """List the models to choose from, the default one first."""
        names = [self._settings.default_model, *self._settings.models, DEMO_MODEL]
        return [self._describe(name) for name in dict.fromkeys(names)]

    def is_offline(self, name: str) -> bool:
        """Say whether this name stands for the demo model ("" is the default model's)."""
        return (name or self._settings.default_model) == DEMO_MODEL

    def _describe(self, name: str) -> ModelInfo:
        offline = self.is_offline(name)
        return ModelInfo(name, "Offline demo (no language model)" if offline else name, offline)

    def _make(self, name: str, temperature: float) -> BaseChatModel:
        if self.is_offline(name):
            pace = self._settings.demo_tokens_per_second
            return DemoChatModel(tokens_per_second=pace, temperature=temperature)
        return self._make_openai(name, temperature)

    def _make_openai(self, name: str, temperature: float) -> BaseChatModel:
        settings = self._settings
        if not (settings.openai_api_key or settings.openai_base_url):
            raise BadInputError(
                f"The model {name[:80]!r} needs a server: set OPENAI_API_KEY, or OPENAI_BASE_URL for one of "
                f"your own, or choose the model {DEMO_MODEL!r}, which works offline."
            )
        # Here, not at the top: the client takes a second to import, and the demo model needs none of it.
        from core.agents.server_model import (  # noqa: PLC0415
            ServerModel,
            ServerTraits,
            open_async_client,
            open_client,
        )

        # The client's own default is shared by the whole process, and fails in a second event loop.
        self._client = self._client or open_async_client(settings.model_timeout_seconds)
        self._sync_client = self._sync_client or open_client(settings.model_timeout_seconds)
        self._traits = self._traits or ServerTraits()
        # Everything the client would otherwise look up in the environment is given, so that settings decide.
        return ServerModel(
            model=name,
            temperature=temperature,
            api_key=settings.openai_api_key or SecretStr(_NO_KEY),
            base_url=settings.openai_base_url or _OPENAI_URL,
            http_async_client=self._client,
            http_client=self._sync_client,
            timeout=settings.model_timeout_seconds,
            stream_chunk_timeout=settings.model_timeout_seconds,
            max_retries=settings.model_max_retries,
            stream_usage=True,
            use_responses_api=False,
            echo_reasoning=settings.echo_reasoning,
            traits=self._traits,
            metadata={KEY_SOURCE_KEY: "settings" if settings.openai_api_key else "none"},
        )


_TOO_LONG = "This conversation is longer than the model can read: start a new one, or choose another model."
_NO_CREDIT = "The account at the model server has no credit left: add credit there, or use another key."
_CUT = "The connection to the model server broke before the answer was complete: retry to continue."
_BROKE_OFF = "The model server reported a failure while it was answering: retry in a moment."
_STALLED = "The model server stopped sending in the middle of its answer: retry in a moment."
_TIMED_OUT = "The model server did not answer in time: retry, or raise SKEIN_MODEL_TIMEOUT_SECONDS."
_UNREACHABLE = "The model server cannot be reached: check OPENAI_BASE_URL and the network, then retry."
_BAD_KEY = "The model server did not accept the key: check OPENAI_API_KEY."
_NOT_ALLOWED = "The key may not use this model: choose another model, or another key."
_UNKNOWN = "The model server does not know this model: check its name and OPENAI_BASE_URL."
_TOO_OFTEN = "The model server is asked too often just now: wait a little, then retry."
_SERVER_FAILED = "The model server had a failure of its own: retry in a moment."
_NO_COMPLETION = (
    "The model server answered with something that is no completion, such as an error page or broken data: "
    "check OPENAI_BASE_URL and what stands between, then retry."
)

# By the name of a class anywhere among an error's bases, the most telling first: asking by name spares a
# process that only ever uses the demo model the import of the client.
_SENTENCES = {
    "ContextOverflowError": _TOO_LONG,
    "NoCompletionError": _NO_COMPLETION,
    "UnreadableAnswerError": _NO_COMPLETION,
    "ReportedFailureError": _BROKE_OFF,
    "StreamChunkTimeoutError": _STALLED,
    "APITimeoutError": _TIMED_OUT,
    "ModelTimeoutError": _TIMED_OUT,
    "APIConnectionError": _UNREACHABLE,
    "ModelConnectionError": _UNREACHABLE,
    "AuthenticationError": _BAD_KEY,
    "ModelAuthenticationError": _BAD_KEY,
    "PermissionDeniedError": _NOT_ALLOWED,
    "ModelPermissionDeniedError": _NOT_ALLOWED,
    "NotFoundError": _UNKNOWN,
    "ModelNotFoundError": _UNKNOWN,
    "RateLimitError": _TOO_OFTEN,
    "ModelRateLimitError": _TOO_OFTEN,
    "InternalServerError": _SERVER_FAILED,
    "ModelAPIError": _SERVER_FAILED,
    "LengthFinishReasonError": "The model reached its length limit before the answer was complete.",
    "ContentFilterFinishReasonError": "The model server's content filter refused this: say it differently.",
}
_LENGTH_WORDS = re.compile(
    r"context[ _](length|window|size)|maximum context|(prompt|input) is too long|too many input tokens",
    re.IGNORECASE,
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]]{0,39}", re.ASCII)
# Where the clients read an answer: an error of another kind than theirs, raised in here, was the answer's fault.
_READING = {"_create_chat_result", "_convert_chunk_to_generation_chunk"}
_STREAMING = {"_stream", "_astream"}
READING_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_EMPTY_STREAM = {"No generation chunks were returned", "No generations found in stream."}
_BROKEN_LINE = {"RemoteProtocolError", "ReadError", "WriteError", "EndOfStream"}


def explain_model_error(error: BaseException) -> str | None:
    """Say in one sentence what went wrong with a model; None when it was not the model that failed."""
    chain = list(_causes(error))
    for position, one in enumerate(chain):
        if _is_model_error(one):
            return _explain(one, causes=chain[position:])
        if is_unreadable_answer(one):
            return _NO_COMPLETION
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _is_model_error(error: BaseException) -> bool:
    if isinstance(error, ModelError) or "StreamChunkTimeoutError" in _names(error):
        return True
    return any(kind.__module__.partition(".")[0] == "openai" for kind in type(error).__mro__)


def is_unreadable_answer(error: BaseException) -> bool:
    """Whether a client could not read what the server had sent; its own words may quote that."""
    if not isinstance(error, READING_ERRORS):
        return False
    places = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_name)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    if any(module.startswith("langchain_core.callbacks.") for module, _ in places):
        return False
    if isinstance(error, JSONDecodeError):
        # What a model wrote as JSON for a form of the caller's is read in openai.lib.
        return any(module.startswith("openai.") and not module.startswith("openai.lib.") for module, _ in places)
    if any(module == "openai._streaming" for module, _ in places):
        return True
    module, function = places[-1] if places else ("", "")
    if module.startswith("langchain_core.language_models."):
        return str(error) in _EMPTY_STREAM
    ours = [function for module, function in places if module.startswith("langchain_openai.")]
    is_last = module.startswith("langchain_openai.") and function in _STREAMING
    return is_last or not _READING.isdisjoint(ours)


def _explain(error: BaseException, *, causes: list[BaseException]) -> str:
    names = _names(error)
    code, status = getattr(error, "code", None), getattr(error, "status_code", None)
    if code == "insufficient_quota":
        return _NO_CREDIT
    if status in {400, 413, 422, 500} and _LENGTH_WORDS.search(f"{code} {error}"):
        return _TOO_LONG
    if any("DecodingError" in _names(cause) for cause in causes):
        return _NO_COMPLETION
    if "APITimeoutError" not in names and any(_names(cause) & _BROKEN_LINE for cause in causes):
        return _CUT
    known = next((sentence for name, sentence in _SENTENCES.items() if name in names), None)
    return known or _explain_refusal(error)


def _explain_refusal(error: BaseException) -> str:
    status, param = getattr(error, "status_code", None), getattr(error, "param", None)
    if status is None:
        return _BROKE_OFF
    # The server's own words may quote the prompt or the key: only a plain parameter name is passed on.
    about = f" because of {param!r}" if isinstance(param, str) and _PLAIN_NAME.fullmatch(param) else ""
    return f"The model server refused the request{about} (status {status}): check the model and its settings."
