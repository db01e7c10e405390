"""As much of S3 as an upload needs, in a process of its own: takes all, keeps nothing, at once.

`python -m benchmarks.s3_sink` prints its port and serves until its standard input ends.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_BUFFER_BYTES = 1024 * 1024
_MULTIPART_BEGUN = (
    '<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<UploadId>1</UploadId></InitiateMultipartUploadResult>"
)
_MULTIPART_COMPLETED = (
    '<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<ETag>0</ETag></CompleteMultipartUploadResult>"
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        """An object, or a part of one."""
        self._answer()

    def do_POST(self) -> None:
        """A multipart upload begins or ends."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        self._answer(_MULTIPART_BEGUN if "uploads" in query else _MULTIPART_COMPLETED)

    def _answer(self, body: str = "") -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        left = int(self.headers.get("Content-Length", 0))
        while left:
            left -= self.rfile.readinto(buffer[:left]) or left
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
