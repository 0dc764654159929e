"""Sends a text and a large binary message over one WebSocket and prints what came back: websocket.py URL."""

import asyncio
import hashlib
import sys

import aiohttp

LARGE = bytes(range(256)) * 4096


async def main(url: str) -> None:
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.ws_connect(url, max_msg_size=0) as socket:
            await socket.send_str("hello")
            print("text", (await socket.receive(timeout=30)).data)
            await socket.send_bytes(LARGE)
            answer = await socket.receive(timeout=30)
            print("binary", hashlib.sha256(answer.data).digest() == hashlib.sha256(LARGE).digest())
            # A tunnel that is silent for a while must stay open.
            await asyncio.sleep(1.5)
            await socket.send_str("still there")
            print("text", (await socket.receive(timeout=30)).data)


asyncio.run(main(sys.argv[1]))
