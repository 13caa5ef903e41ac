"""child.py KIND [FILE] - a stdio MCP server that behaves as KIND says: badly."""
import json
import os
import signal
import subprocess
import sys
import time

kind, *rest = sys.argv[1:]
MIB = 1 << 20


def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def answer(message, result):
    write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")


def on_initialize(message):
    if kind == "flood-no-line":
        for _ in range(20):
            os.write(2, b"f" * MIB)
    if kind == "garbage":
        sys.stdout.buffer.write(b"Listening on stdio!\n\xff\xfe\x00\x1b[31mred\n[1,2\n{}\n\n\r\n")
    if kind == "long-words":
        os.write(2, b"begin " + b"y" * 3000 + b"\n" + b"\x1b[31m\xff\n")
    if kind == "flood":
        for i in range(100000):
            os.write(2, b"flood %d\n" % i)
    answer(message, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                     "serverInfo": {"name": "bad", "version": "1"}})


def write_long(what, length):
    """A message of the form `what`, in which `~` stands for as much as makes it `length` bytes."""
    line = json.dumps(what, separators=(",", ":")).replace("~", "z" * 1000, 1)
    write(line.replace("z" * 1000, "z" * (length - len(line) + 1000), 1) + "\n")


def on_long_call(message):
    """One line of `length` bytes: the answer, or something of the server's own before it."""
    how = message["params"]["arguments"]
    result = {"content": [{"type": "text", "text": "~"}]}
    own = {"jsonrpc": "2.0", "method": "notifications/message",
           "params": {"level": "info", "data": "~"}}
    if how["as"] == "answer":
        write_long({"jsonrpc": "2.0", "id": message["id"], "result": result}, how["length"])
    elif how["as"] == "answer, its id last":
        write_long({"jsonrpc": "2.0", "result": result, "id": message["id"]}, how["length"])
    elif how["as"] == "error":
        write_long({"jsonrpc": "2.0", "error": {"code": 1, "message": "~"}, "id": message["id"]},
                   how["length"])
    else:
        if how["as"] == "request":
            own = {**own, "id": message["id"], "method": "sampling/createMessage"}
        write_long(own, how["length"])
        answer(message, {"content": [{"type": "text", "text": "ok"}]})


def on_words(message):
    """The answer, written in the way that is asked for."""
    way, value = message["params"]["arguments"]["way"], message["params"]["arguments"]["value"]
    text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}, indent=1)
    text = text.replace("\n", "\r" if way == "CR inside" else " ")
    if way == "blanks around":
        text = " \t" + text + "  "
    text += "\r\n" if way == "CR LF at its end" else "\n"
    write(text * 2 if way == "twice in one write" else text)


def what_it_has():
    """What a process may have from whoever started it."""
    files = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            files[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass  # that of this look
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return json.dumps({"environment": dict(os.environ), "files": files, "status": status})


def on_pieces(message):
    """The answer in the pieces that its seed cuts."""
    import random  # the others start without it
    how = message["params"]["arguments"]
    chance = random.Random(how["seed"])
    text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": how["value"]},
                      ensure_ascii=False).encode() + chance.choice((b"\n", b"\r\n", b"\n\n"))
    cuts = sorted(chance.randrange(len(text)) for _ in range(4))
    for a, b in zip([0, *cuts], [*cuts, len(text)]):
        os.write(1, text[a:b])
        time.sleep(0.001)


def on_call(message):
    if kind in ("parent", "escaped"):
        os._exit(1)
    if kind == "long":
        on_long_call(message)
        return
    if kind == "pieces":
        on_pieces(message)
        return
    if kind == "words":
        on_words(message)
        return
    text = what_it_has() if kind == "looks" else "ok"
    if kind == "no-line-end":
        write("z" * (11 * MIB))
        time.sleep(1000)
    answer(message, {"content": [{"type": "text", "text": text}]})


def start_badly():
    if kind == "late":
        time.sleep(1.5)
    if kind == "early":
        for i in range(int(rest[0])):
            write(json.dumps({"jsonrpc": "2.0", "method": "notifications/message",
                              "params": {"level": "info", "data": f"early {i} " + "e" * 800}}) + "\n")
    if kind == "escaped":
        # Out of reach: in a group of its own, with our pipes open.
        escaped = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        note(escaped.pid)


def note(pid):
    with open(rest[0] + ".new", "w", encoding="ascii") as file:
        file.write(str(pid))
    os.rename(rest[0] + ".new", rest[0])


def main():
    start_badly()
    if kind == "last-words":
        os.write(2, b"panic: without a line end")
        os._exit(3)
    if kind == "usage":
        write("usage: server [--port PORT]\n")
        os._exit(2)
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "parent":
        note(subprocess.Popen(["sleep", "1000"]).pid)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "initialize":
            on_initialize(message)
            if kind == "quits":
                time.sleep(0.5)
                os._exit(0)
        elif message.get("method") == "tools/call":
            on_call(message)
        elif "method" in message and "id" in message:
            answer(message, {})
    if kind == "tidy":
        time.sleep(0.7)
        with open(rest[0], "w", encoding="ascii") as file:
            file.write("written down")
    if kind in ("deaf", "stays"):
        time.sleep(1000)


main()
