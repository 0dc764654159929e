"""Fetches a page with one of Python's HTTP libraries and prints it: get.py LIBRARY URL."""

import asyncio
import http.client
import sys
import urllib.parse
import urllib.request


def with_urllib(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read().decode()


def with_http_client(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(parts.hostname, timeout=60)
    connection.request("GET", parts.path)
    return connection.getresponse().read().decode()


def with_requests(url: str) -> str:
    import requests

    response = requests.get(url, timeout=60)
    response.raise_for_status()
    return response.text


def with_aiohttp(url: str) -> str:
    import aiohttp

    async def get() -> str:
        # Without trust_env aiohttp reads no proxy variable.
        async with aiohttp.ClientSession(trust_env=True, raise_for_status=True) as session:
            async with session.get(url) as response:
                return await response.text()

    return asyncio.run(get())


LIBRARIES = {
    "urllib": with_urllib,
    "http.client": with_http_client,
    "requests": with_requests,
    "aiohttp": with_aiohttp,
}
print(LIBRARIES[sys.argv[1]](sys.argv[2]), end="")
