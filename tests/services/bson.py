# SPDX-License-Identifier: Apache-2.0
"""BSON and MongoDB's wire protocol (OP_MSG), as much of them as tests need of both sides.

Integers are 64-bit unless they are Int32; dates are Date, and what has no Python type of its own
is a Raw of its type and bytes.
"""
import dataclasses
import socket
import struct

OP_MSG = 2013
OP_QUERY = 2004
OP_REPLY = 1


class Int32(int):
    """An integer of 32 bits."""


@dataclasses.dataclass(frozen=True)
class Date:
    ms: int


@dataclasses.dataclass(frozen=True)
class Raw:
    type: int
    data: bytes


def _cstring(text):
    return text.encode() + b"\0"


def _element(key, value):
    name = _cstring(key)
    if value is None:
        return b"\x0a" + name
    if isinstance(value, bool):
        return b"\x08" + name + bytes([value])
    if isinstance(value, Int32):
        return b"\x10" + name + struct.pack("<i", value)
    if isinstance(value, int):
        return b"\x12" + name + struct.pack("<q", value)
    if isinstance(value, float):
        return b"\x01" + name + struct.pack("<d", value)
    if isinstance(value, str):
        text = _cstring(value)
        return b"\x02" + name + struct.pack("<i", len(text)) + text
    if isinstance(value, dict):
        return b"\x03" + name + encode(value)
    if isinstance(value, (list, tuple)):
        return b"\x04" + name + encode({str(i): item for i, item in enumerate(value)})
    if isinstance(value, Date):
        return b"\x09" + name + struct.pack("<q", value.ms)
    if isinstance(value, Raw):
        return bytes([value.type]) + name + value.data
    raise TypeError(f"{type(value)} has no BSON here")


def encode(document):
    body = b"".join(_element(key, value) for key, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _size_of(kind, data, at):
    """The bytes of a value whose type has no Python type of its own."""
    if kind == 0x05:
        return 5 + struct.unpack_from("<i", data, at)[0]
    if kind == 0x0b:
        first = data.index(b"\0", at)
        return data.index(b"\0", first + 1) + 1 - at
    return {0x07: 12, 0x11: 8, 0x13: 16, 0xff: 0, 0x7f: 0, 0x06: 0}[kind]


def _value(kind, data, at):
    if kind == 0x01:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind == 0x02:
        size = struct.unpack_from("<i", data, at)[0]
        return data[at + 4:at + 3 + size].decode(), at + 4 + size
    if kind in (0x03, 0x04):
        document, behind = decode(data, at)
        return (document if kind == 0x03 else list(document.values())), behind
    if kind == 0x08:
        return data[at] != 0, at + 1
    if kind == 0x09:
        return Date(struct.unpack_from("<q", data, at)[0]), at + 8
    if kind == 0x0a:
        return None, at
    if kind == 0x10:
        return Int32(struct.unpack_from("<i", data, at)[0]), at + 4
    if kind == 0x12:
        return struct.unpack_from("<q", data, at)[0], at + 8
    size = _size_of(kind, data, at)
    return Raw(kind, bytes(data[at:at + size])), at + size


def decode(data, at=0):
    """A document at an offset, and what is behind it."""
    end = at + struct.unpack_from("<i", data, at)[0]
    at += 4
    document = {}
    while data[at] != 0:
        kind = data[at]
        stop = data.index(b"\0", at + 1)
        key = data[at + 1:stop].decode()
        document[key], at = _value(kind, data, stop + 1)
    if at + 1 != end:
        raise ValueError("a document's size is not that of its content")
    return document, end


# ---- Messages ----

def read_message(connection):
    """A whole message of a socket, None at its end."""
    data = b""
    while len(data) < 4 or len(data) < struct.unpack_from("<i", data)[0]:
        size = 4 if len(data) < 4 else struct.unpack_from("<i", data)[0]
        piece = connection.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return data


def command_of(message):
    """(request id, opcode, command) of a client's message; sequences of documents are members."""
    _, request, _, opcode = struct.unpack_from("<iiii", message)
    if opcode == OP_QUERY:
        at = message.index(b"\0", 20) + 1 + 8
        return request, opcode, decode(message, at)[0]
    at, command = 20, {}
    flags = struct.unpack_from("<I", message, 16)[0]
    end = len(message) - (4 if flags & 1 else 0)
    while at < end:
        kind = message[at]
        if kind == 0:
            document, at = decode(message, at + 1)
            command.update(document)
            continue
        stop = at + 1 + struct.unpack_from("<i", message, at + 1)[0]
        name = message.index(b"\0", at + 5)
        key, at, items = message[at + 5:name].decode(), name + 1, []
        while at < stop:
            document, at = decode(message, at)
            items.append(document)
        command[key] = items
    return request, opcode, command


def reply_to(request, opcode, document):
    body = encode(document)
    if opcode == OP_QUERY:
        head = struct.pack("<iqii", 8, 0, 0, 1)
        return struct.pack("<iiii", 16 + len(head) + len(body), 1, request, OP_REPLY) + head + body
    return struct.pack("<iiiiIb", 21 + len(body), 1, request, OP_MSG, 0, 0) + body


class Client:
    """One connection to a server."""

    def __init__(self, port, timeout_s=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.count = 0

    def command(self, command, database):
        return self.send(encode({**command, "$db": database}))

    def send(self, body):
        """What is encoded already."""
        self.count += 1
        self.socket.sendall(struct.pack("<iiiiIb", 21 + len(body), self.count, 0, OP_MSG, 0, 0) +
                            body)
        message = read_message(self.socket)
        if message is None:
            raise ConnectionError("the server ended the connection")
        return decode(message, 21)[0]

    def close(self):
        self.socket.close()
