# Processes started in every way, shared memory and semaphores, asyncio, TLS, threads.
import asyncio
import concurrent.futures
import mmap
import multiprocessing
import multiprocessing.shared_memory
import os
import socket
import ssl
import subprocess
import sys
import threading


def square(number):
    return number * number


def add(counter, times):
    for _ in range(times):
        with counter.get_lock():
            counter.value += 1


def multi():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, sum(pool.map(square, range(100))))
        counter = context.Value("i", 0)
        processes = [context.Process(target=add, args=(counter, 500)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print(method, counter.value)
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 20)
    memory.buf[:5] = b"hello"
    print("shared", bytes(memory.buf[:5]))
    memory.close()
    memory.unlink()


async def loop():
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"loopback\n")
    print("asyncio", (await reader.read()).decode().strip())
    writer.close()
    child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print("child", (await child.communicate(b"piped"))[0].decode())
    server.close()


def tls():
    left, right = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain("cert.pem", "key.pem")
    client = ssl.create_default_context(cafile="cert.pem")
    answer = threading.Thread(target=lambda: server.wrap_socket(left, server_side=True).sendall(b"sealed"))
    answer.start()
    end = client.wrap_socket(right, server_hostname="localhost")
    print("ssl", end.version(), end.recv(16).decode())
    answer.join()


def others():
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        print("threads", sum(threads.map(square, range(1000))))
    print("subprocess", subprocess.run("echo a | tr a b", shell=True, capture_output=True).stdout)
    region = mmap.mmap(-1, 1 << 20)
    region[-1] = 7
    if os.fork() == 0:
        region[0] = region[-1]
        os._exit(0)
    os.wait()
    print("mmap", region[0])
    descriptor = os.memfd_create("name")
    os.write(descriptor, b"#!/bin/sh\necho from memory\n")
    sys.stdout.flush()
    subprocess.run([f"/proc/self/fd/{descriptor}"], pass_fds=[descriptor], check=True)


if __name__ == "__main__":
    multi()
    asyncio.run(loop())
    tls()
    others()
