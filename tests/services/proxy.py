# SPDX-License-Identifier: Apache-2.0
"""A proxy before a server, which cuts a connection at a chosen message, delays and counts messages.

A message is a piece of what the client sends: PostgreSQL's begin with a byte of type and a size
(the very first has the size alone).
"""
import socket
import struct
import threading
import time


def postgres_messages(buffer, first):
    """Takes whole messages off a buffer: (messages, whether the next is the first)."""
    messages = []
    while True:
        start = 0 if first else 1
        if len(buffer) < start + 4:
            return messages, first
        size = struct.unpack_from(">I", buffer, start)[0] + start
        if len(buffer) < size:
            return messages, first
        messages.append(bytes(buffer[:size]))
        del buffer[:size]
        first = False


def http_messages(buffer, first):
    """The same of HTTP requests, which have a Content-Length or no body."""
    messages = []
    while True:
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return messages, first
        size = head + 4
        for line in bytes(buffer[:head]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size += int(value)
        if len(buffer) < size:
            return messages, first
        messages.append(bytes(buffer[:size]))
        del buffer[:size]


def mongodb_messages(buffer, first):
    """The same of MongoDB's, each of which begins with its size."""
    messages = []
    while len(buffer) >= 4:
        size = struct.unpack_from("<I", buffer)[0]
        if len(buffer) < size:
            break
        messages.append(bytes(buffer[:size]))
        del buffer[:size]
    return messages, first


class Proxy:
    """`cut_at`: the message, counted from 1 over all connections since `arm`, at which the
    connection ends: before it is passed on, or (`after`) after the server has it and before the
    client hears of it. `action` is called at that message instead. `delay_s`: for how long each
    answer is kept, of those connections whose first message `slow` says so of."""

    def __init__(self, port, messages=postgres_messages, delay_s=0, slow=None):
        self.target = port
        self.delay_s = delay_s
        self.slow = slow or (lambda first: True)
        self.messages = messages
        self.lock = threading.Lock()
        self.count = 0
        self.cut_at = None
        self.after = False
        self.reset = False
        self.action = None
        self.cuts = 0
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, cut_at, after=False, reset=False, action=None):
        with self.lock:
            self.count = 0
            self.cut_at = cut_at
            self.after = after
            self.reset = reset
            self.action = action

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                self._end(client)
                continue
            muted, slow = threading.Event(), threading.Event()
            for run, ends in ((self._forward, (client, server)), (self._back, (server, client))):
                threading.Thread(target=run, args=(*ends, muted, slow), daemon=True).start()

    def _end(self, *sockets):
        for one in sockets:
            try:
                if self.reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Whoever reads from it in another thread lets go of it.
                one.shutdown(socket.SHUT_RD if self.reset else socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _forward(self, client, server, muted, slow):
        buffer = bytearray()
        first = asked = True
        try:
            while data := client.recv(65536):
                buffer += data
                messages, first = self.messages(buffer, first)
                for message in messages:
                    if asked and self.slow(message):
                        slow.set()
                    asked = False
                    with self.lock:
                        self.count += 1
                        cut = self.count == self.cut_at
                        self.cuts += cut
                    if cut and self.action is not None and not self.after:
                        self.action()
                    if not cut or self.action is not None:
                        server.sendall(message)
                    if cut and self.action is not None and self.after:
                        self.action()
                    if not cut or self.action is not None:
                        continue
                    if self.after:
                        muted.set()
                        server.sendall(message)
                        server.shutdown(socket.SHUT_WR)
                        # The server does what it was sent, up to its end of this connection.
                        while server.recv(65536):
                            pass
                    self._end(client, server)
                    return
        except OSError:
            pass
        self._end(client, server)

    def _back(self, server, client, muted, slow):
        try:
            while not muted.is_set():
                data = server.recv(65536)
                if not data:
                    break
                if muted.is_set():
                    return
                if slow.is_set():
                    time.sleep(self.delay_s)
                client.sendall(data)
        except OSError:
            pass
        if not muted.is_set():
            self._end(client, server)
