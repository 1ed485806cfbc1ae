"""A server that speaks the OpenAI protocol and misbehaves. Run as `python fake_endpoint.py`; it prints its port.

What it answers depends on the question and on how often that was asked: canned dialogs, and before them 429 with
Retry-After, 500, a body that ends too early, a slow answer, an answer without a text. It logs each request to the file
that is its first argument, one JSON line of path, Authorization and question.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SEEN: Counter[str] = Counter()
LOCK = threading.Lock()
LOG = sys.argv[1] if len(sys.argv) > 1 else None
DELAY = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
SLOW = 0.3  # seconds


def reply_to(question: str) -> str:
    """What the model would write."""
    thing = question.rstrip("?").split()[-1]
    forms = {
        "labels": f"User: I read about {thing}.\nAssistant: Go on.\nUser: {question.split()[0]} was it?",
        "tail": f"User: Tell me about {thing}.\nAssistant: Yes?\nUser: And when was it?\nAssistant: In 1900.",
        "json": json.dumps([
            {"role": "user", "content": f"About {thing}"}, {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "When was that?"},
        ]),
        "fence": f"Sure!\n```\n**User:** {thing}?\n**Assistant:** Yes.\n**User:** When?\n```\nHope this helps",
        "chatter": "I cannot do that.",
        "assistant-first": "Assistant: Hello\nUser: Hi",
        "two": "User: a\nUser: b",
    }  # fmt: skip
    return forms.get(thing.split("-", 1)[-1], forms["labels"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, state: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(state)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = request["messages"][-1]["content"].removeprefix("Question: ")
        key = f"{question}|{request['seed']}"
        with LOCK:
            SEEN[key] += 1
            times = SEEN[key]
            if LOG:
                with open(LOG, "a") as log:
                    log.write(json.dumps([self.path, self.headers.get("Authorization"), question]) + "\n")
        time.sleep(DELAY)
        if not self.misbehave(question, times):
            text = "".join(reply_to(question))
            usage = {"prompt_tokens": 100, "completion_tokens": len(text.split()), "total_tokens": 100}
            message = {"role": "assistant", "content": text}
            finish = "length" if question.endswith("cut?") else "stop"
            choice = {"index": 0, "message": message, "finish_reason": finish}
            answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            self.send(200, json.dumps(answer | {"usage": usage}).encode())

    def misbehave(self, question: str, times: int) -> bool:
        """Whether something else than a dialog was sent."""
        if times > 1 and not question.startswith("Always"):
            return False
        kind = question.split()[1] if len(question.split()) > 1 else ""
        if kind == "limit":
            self.send(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "0.05"})
        elif kind == "error":
            self.send(500, b"internal error")
        elif kind == "truncated":
            self.send(200, b'{"id": "x", "choices": [{"ind', length=400)
            self.close_connection = True
        elif kind == "malformed":
            self.send(200, b'{"object": "chat.completion", "choices": []}')
        elif kind == "nojson":
            self.send(200, b"<html>oops</html>")
        elif kind == "refused":
            self.send(400, json.dumps({"error": {"message": "bad " + (self.headers["Authorization"] or "")}}).encode())
        elif kind == "denied":
            said = "Incorrect API key: " + (self.headers["Authorization"] or "")
            self.send(401, json.dumps({"error": {"message": said}}).encode())
        elif kind == "slow":
            time.sleep(SLOW)
            return False
        else:
            return False
        return True


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
