"""recorder - a small Streamable HTTP server in the test's own process that remembers every request
as it came, and whose answers a test can replace."""
import http.server
import itertools
import json
import threading
import uuid


class Seen:
    """A request as it reached the server."""

    def __init__(self, handler, body):
        self.method, self.target, self.body = handler.command, handler.path, body
        self.headers = [(name.lower(), value) for name, value in handler.headers.items()]

    def values(self, name):
        return [value for key, value in self.headers if key == name.lower()]

    def value(self, name):
        """The only one; None: there is none."""
        values = self.values(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    def messages(self):
        found = json.loads(self.body) if self.body and self.method == "POST" else []
        return found if isinstance(found, list) else [found]

    def __str__(self):
        return f"{self.method} {self.target} {self.headers} {self.body[:200]!r}"


class Recorder:
    """`answer(seen)` gives (status, header pairs, body), or None: what such a server answers.
    `is_stateless`: it gives out no session ids."""

    def __init__(self, name="recorder", is_stateless=False):
        self.name, self.is_stateless, self.answer = name, is_stateless, lambda seen: None
        self.requests, self.sessions, self.counter = [], set(), itertools.count(1)
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                seen = Seen(self, body)
                recorder.requests.append(seen)
                status, headers, text = recorder.answer(seen) or recorder.usual(seen)
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text if self.command != "HEAD" else b"")

            do_GET = do_POST = do_DELETE = do_OPTIONS = do_HEAD = do_PUT = do_PATCH = handle_one

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def usual(self, seen):
        json_type = [("Content-Type", "application/json")]
        if seen.target.partition("?")[0] != "/mcp":
            return 404, [], b"nothing here"
        if seen.method not in ("POST", "DELETE") or (seen.method == "DELETE" and self.is_stateless):
            return 405, [("Allow", "POST")], b""
        session = seen.value("mcp-session-id")
        if session is not None and session not in self.sessions:
            return 404, json_type, b'{"jsonrpc":"2.0","error":{"code":-32001,"message":"-"},"id":null}'
        if seen.method == "DELETE":
            self.sessions.remove(session)
            return 200, [], b""
        messages = seen.messages()
        answers = [self.result(one) for one in messages if "id" in one and "method" in one]
        if not answers:
            return 202, [], b""
        if messages[0].get("method") == "initialize" and not self.is_stateless:
            session = uuid.uuid4().hex
            self.sessions.add(session)
            json_type.append(("Mcp-Session-Id", session))
        is_batch = seen.body.lstrip().startswith(b"[")
        return 200, json_type, json.dumps(answers if is_batch else answers[0]).encode()

    def result(self, message):
        result = {"content": [{"type": "text", "text": f"{self.name} {next(self.counter)}"}]}
        if message["method"] == "initialize":
            result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {},
                      "serverInfo": {"name": self.name, "version": "1"}}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def last(self, method="POST", says=None):
        """The newest request of that method; `says`: whose body holds these bytes."""
        found = [seen for seen in list(self.requests)
                 if seen.method == method and (says is None or says in seen.body)]
        assert found, f"no {method} with {says} came to {self.name}"
        return found[-1]
