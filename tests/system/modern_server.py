"""modern_server NAME PORT - a small MCP server of revision 2026-07-28 alone, as one replica of many:
what it gives out (states, tasks) only it knows, since its key and its tasks live in this process.
Prints one line for each request that reached it, and one when a client went away."""
import hashlib
import hmac
import http.server
import json
import os
import socketserver
import sys
import threading
import time
import uuid

VERSION = "2026-07-28"
NAME, KEY, TASKS = sys.argv[1], os.urandom(32), set()


def say(*words):
    print(*words, flush=True)


def sealed(round_number):
    """Text that a JSON writer has to escape."""
    text = f'{round_number} "\u00e9/\\'
    return f"{text}|{hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()}"


def opened(state):
    text, _, tag = state.rpartition("|")
    good = hmac.compare_digest(tag, hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest())
    return int(text.split()[0]) if good else None


def content(text):
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


class Refusal(Exception):
    def __init__(self, code, message, status=200):
        super().__init__(message)
        self.code, self.status = code, status


def call_tool(params):
    """`rounds` asks as often as its argument says before it completes."""
    tool, arguments = params["name"], params.get("arguments", {})
    if tool == "rounds":
        done = 0
        if "requestState" in params:
            done = opened(params["requestState"])
            if done is None:
                raise Refusal(-32602, "Invalid or expired requestState")
        if done < arguments["rounds"]:
            return {"resultType": "input_required", "inputRequests": {},
                    "requestState": sealed(done + 1)}
        return content(NAME)
    if tool == "task":
        task = str(uuid.uuid4())
        TASKS.add(task)
        return {"resultType": "task", "taskId": task, "status": "working"}
    if tool == "whoami":
        return content(NAME)
    raise Refusal(-32602, f"no such tool: {tool}")


def result_of(method, params):
    if method == "server/discover":
        return {"supportedVersions": [VERSION], "capabilities": {}, "serverInfo": {"name": NAME}}
    if method in ("tasks/get", "tasks/update", "tasks/cancel"):
        if params["taskId"] not in TASKS:
            raise Refusal(-32602, "Task not found")
        return {"resultType": "complete", "taskId": params["taskId"], "status": "working",
                "replica": NAME}
    if method == "tools/call":
        return call_tool(params)
    raise Refusal(-32601, "Method not found", 404)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, message):
        body = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def event(self, message):
        self.wfile.write(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")
        self.wfile.flush()

    def stream_on(self, what, first, seconds, every):
        """Notifications until the time is over or the client is gone."""
        self.close_connection = True
        end = time.monotonic() + seconds
        self.begin_stream()
        try:
            self.event(first)
            while time.monotonic() < end:
                time.sleep(every)
                # what is no message keeps a client's reader quiet, and shows that it is gone
                self.wfile.write(b":\n\n")
                self.wfile.flush()
        except OSError:
            say("closed", what)
            return False
        return True

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, params = message["method"], message.get("params", {})
        number = message.get("id")
        say("request", method, number, self.headers.get("Mcp-Name", "-"))
        error = {"code": -32022, "message": "Unsupported protocol version",
                 "data": {"supported": [VERSION]}}
        if params.get("_meta", {}).get("io.modelcontextprotocol/protocolVersion") != VERSION:
            return self.answer(400, {"jsonrpc": "2.0", "id": number, "error": error})
        if method == "subscriptions/listen":
            first = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                     "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": number}}}
            return self.stream_on("listen", first, 3600, 3600)
        if method == "tools/call" and params["name"] == "slow":
            token = params["_meta"].get("progressToken", number)
            first = {"jsonrpc": "2.0", "method": "notifications/progress",
                     "params": {"progressToken": token, "progress": 1}}
            if self.stream_on("slow", first, params["arguments"]["seconds"], 0.05):
                self.event({"jsonrpc": "2.0", "id": number, "result": content(NAME)})
            return None
        try:
            whole = {"jsonrpc": "2.0", "id": number, "result": result_of(method, params)}
            status = 200
        except Refusal as refusal:
            whole = {"jsonrpc": "2.0", "id": number,
                     "error": {"code": refusal.code, "message": str(refusal)}}
            status = refusal.status
        if status == 200 and params.get("arguments", {}).get("stream"):
            self.close_connection = True
            self.begin_stream()
            return self.event(whole)
        return self.answer(status, whole)

    def do_GET(self):
        self.answer(405, {"jsonrpc": "2.0", "id": None,
                          "error": {"code": -32000, "message": "Method not allowed"}})

    do_DELETE = do_GET


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


threading.stack_size(256 * 1024)
Server(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
