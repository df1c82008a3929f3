"""A graph whose node asks a model server over HTTP, with the client and on the thread that its message names.

The message is ``client place path`` and, as JSON, the body.
"""

import asyncio
import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import httpx
import requests
import urllib3
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

POOL = ThreadPoolExecutor(2, thread_name_prefix="a pool")


def _server() -> str:
    return os.environ["TEST_PROVIDER_URL"]


def _with_httpx(path: str, body: dict[str, Any]) -> bytes:
    with httpx.Client() as client, client.stream("POST", _server() + path, json=body) as response:
        return b"".join(response.iter_bytes())


def _with_requests(path: str, body: dict[str, Any]) -> bytes:
    with requests.post(_server() + path, json=body, timeout=10, stream=True) as response:
        return b"".join(response.iter_content(None))


def _with_urllib3(path: str, body: dict[str, Any]) -> bytes:
    with urllib3.PoolManager() as pool:
        return pool.request("POST", _server() + path, json=body).data


def _with_urllib(path: str, body: dict[str, Any]) -> bytes:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(_server() + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            return b"".join(response)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.read()


def _with_http_client(path: str, body: dict[str, Any]) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(_server()).netloc)
    connection.request("POST", path, json.dumps(body))
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


def _with_aiohttp(path: str, body: dict[str, Any]) -> bytes:
    import aiohttp

    async def ask() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(_server() + path, json=body) as response:
            return b"".join([part async for part in response.content.iter_any()])

    return POOL.submit(copy_context().run, asyncio.run, ask()).result(10)


CLIENTS: dict[str, Callable[[str, dict[str, Any]], bytes]] = {
    "httpx": _with_httpx,
    "requests": _with_requests,
    "urllib3": _with_urllib3,
    "urllib": _with_urllib,
    "http.client": _with_http_client,
}


if find_spec("aiohttp") is not None:
    CLIENTS["aiohttp"] = _with_aiohttp


async def _at_once(work: Callable[[], bytes]) -> bytes:
    return work()


async def _on_the_loops_executor(work: Callable[[], bytes]) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def _on_a_pool_by_the_loop(work: Callable[[], bytes]) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(POOL, work)


async def _on_a_pool(work: Callable[[], bytes]) -> bytes:
    return await asyncio.wrap_future(POOL.submit(work))


async def _on_a_thread(work: Callable[[], bytes]) -> bytes:
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    await asyncio.to_thread(thread.join)
    return found[0]


async def _to_thread(work: Callable[[], bytes]) -> bytes:
    return await asyncio.to_thread(work)


PLACES: dict[str, Callable[[Callable[[], bytes]], Awaitable[bytes]]] = {
    "here": _at_once,
    "to_thread": _to_thread,
    "executor": _on_the_loops_executor,
    "executor_of_its_own": _on_a_pool_by_the_loop,
    "pool": _on_a_pool,
    "thread": _on_a_thread,
}


async def ask(state: MessagesState) -> dict[str, Any]:
    client, place, path, body = str(state["messages"][-1].content).split(" ", 3)
    answer = await PLACES[place](lambda: CLIENTS[client](path, json.loads(body)))
    return {"messages": [AIMessage(answer.decode())]}


graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
