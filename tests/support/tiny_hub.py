"""A Hugging Face Hub on this machine that offers what lies in one folder, as far as its client asks."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "c0ffee" * 6 + "beef"


@contextmanager
def serving(folder: Path, repository: str):
    """Serve `folder` as `repository` at revision main; yields the address and the list of paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(body=True)

        def do_HEAD(self):
            self.answer(body=False)

        def answer(self, *, body):
            path = self.path.partition("?")[0]
            asked.append(path)
            api, resolve = f"/api/models/{repository}", f"/{repository}/resolve/"
            if path in (api, f"{api}/revision/main"):
                files = [{"rfilename": file.name} for file in folder.iterdir()]
                self.reply(200, json.dumps({"id": repository, "sha": SHA, "siblings": files}).encode(), body=body)
            elif path.startswith(f"{api}/tree/"):
                entries = [entry(file) for file in sorted(folder.iterdir())]
                self.reply(200, json.dumps(entries).encode(), body=body)
            elif path.startswith(resolve) and (folder / path.rpartition("/")[2]).is_file():
                data = (folder / path.rpartition("/")[2]).read_bytes()
                head = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA}
                self.reply(200, data, head, body=body)
            else:
                missing = "RevisionNotFound" if path.startswith(f"{api}/revision/") else "RepoNotFound"
                self.reply(404, b"{}", {"X-Error-Code": missing}, body=body)

        def reply(self, status, data, head=None, *, body):
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **(head or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def entry(file: Path) -> dict[str, object]:
    data = file.read_bytes()
    return {"type": "file", "path": file.name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
