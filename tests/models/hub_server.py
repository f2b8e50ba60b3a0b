"""A hub of the Hugging Face kind on this machine: the few addresses that `models fetch` asks, served from a folder."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub:
    """Serves the files of `folder` as those of any repository.

    sizes: whether the list of files tells them; lengths: whether a file's own answer does. broken: from this byte on, a
    large file's connection ends; None for never. refused: whether every answer is an error. asked: "METHOD path", and
    the range where one was asked for, of each request.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        self.sizes, self.lengths, self.refused = True, True, False
        self.broken: int | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> "Hub":
        self.thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, wanted = request.path.partition("?")[0], request.headers.get("Range")
        self.asked.append(" ".join(filter(None, (request.command, path, wanted))))
        if self.refused:
            request.send_error(503)
        elif path.startswith("/api/models/"):
            files = [{"rfilename": file.name} | ({"size": file.stat().st_size} if self.sizes else {})
                     for file in sorted(self.folder.iterdir())]  # fmt: skip
            content = json.dumps({"id": path.removeprefix("/api/models/"), "sha": COMMIT, "siblings": files}).encode()
            self._send(request, 200, content, {"Content-Type": "application/json"}, True)
        else:
            self._file(request, self.folder / path.rpartition("/")[2], wanted)

    def _file(self, request: BaseHTTPRequestHandler, file: Path, wanted: str | None) -> None:
        if not file.is_file():
            request.send_error(404)
            return
        content = file.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._send(request, 206 if wanted else 200, content[begin:], headers, self.lengths, begin)

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str],
              length: bool, begin: int = 0) -> None:  # fmt: skip
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if length:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            cut = self.broken is not None and begin + len(content) > self.broken
            request.wfile.write(content[: max(0, (self.broken or 0) - begin)] if cut else content)
            request.close_connection = True
