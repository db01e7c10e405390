import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local_cloud.captions.ollama import find_vision_model, use_ollama_hint


@pytest.fixture
def ollama():
    """Run a fake Ollama; return its answers by path and model, and its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.respond(answers.get(self.path))

        def do_POST(self):
            model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
            self.respond(answers.get((self.path, model)))

        def respond(self, answer):
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    answers = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield answers, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_first_model_that_accepts_images_is_found(ollama):
    answers, url = ollama
    answers["/api/tags"] = {"models": [{"name": "llama3:8b"}, {"name": "qwen3-vl:8b"}]}
    answers["/api/show", "llama3:8b"] = {"capabilities": ["completion"]}
    answers["/api/show", "qwen3-vl:8b"] = {"capabilities": ["completion", "vision"]}

    assert find_vision_model(url) == "qwen3-vl:8b"


@pytest.mark.parametrize(
    "tags",
    [{"models": []}, {"models": [{"name": "llama3:8b"}]}, {}, [], b"<html>", {"models": [{}]}],
)
def test_another_program_or_no_vision_model_is_none(ollama, tags):
    answers, url = ollama
    answers["/api/tags"] = tags

    assert find_vision_model(url) is None


def test_a_port_on_which_nothing_listens_is_none(unused_tcp_port):
    assert find_vision_model(f"http://127.0.0.1:{unused_tcp_port}") is None


def test_the_hint_is_a_command():
    assert use_ollama_hint("qwen3-vl:8b") == (
        "Ollama has qwen3-vl:8b; for its captions: make run "
        "LOCAL_VISION_URL=http://127.0.0.1:11434/v1 LOCAL_VISION_MODEL=qwen3-vl:8b"
    )
