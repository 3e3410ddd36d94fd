"""An HTTPS file server that misbehaves on demand: drops connections, ignores ranges, changes files, redirects."""
import http.server
import pathlib
import ssl
import subprocess
import threading


def make_certificate(folder):
    """A certificate for localhost that is its own authority."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


class File:
    def __init__(self, content, etag='"1"', drops=(), status=200, ignores_ranges=False, redirect=None):
        self.content, self.etag, self.status = content, etag, status
        self.drops = list(drops)  # of the coming requests: bytes to send before the connection is cut
        self.ignores_ranges, self.redirect = ignores_ranges, redirect


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        file = self.server.files.get(self.path)
        if file is None or file.status != 200:
            return self.reply(404 if file is None else file.status, b"no")
        if file.redirect:
            self.send_response(302)
            self.send_header("Location", file.redirect)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = self.wanted_start(file)
        body = file.content[start:]
        headers = {"ETag": file.etag} if file.etag else {}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(file.content) - 1}/{len(file.content)}"
        self.reply(206 if start else 200, body, headers, file.drops.pop(0) if file.drops else None)

    def wanted_start(self, file):
        asked = self.headers.get("Range", "")
        same = self.headers.get("If-Range", file.etag) == file.etag
        if file.ignores_ranges or not same or not asked.startswith("bytes="):
            return 0
        return int(asked[len("bytes="):].split("-")[0])

    def reply(self, status, body, headers=None, cut_after=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut_after is not None:
            self.wfile.write(body[:cut_after])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return
        for at in range(0, len(body), 1 << 16):
            if self.server.pause:
                self.server.pause.wait()
            self.wfile.write(body[at:at + (1 << 16)])

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ssl.SSLError, ValueError):
            pass  # the client went away, or we cut it off


class HttpsServer:
    def __init__(self, folder):
        certificate, key = make_certificate(pathlib.Path(folder))
        self.certificate = certificate
        self.http = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        self.http.daemon_threads = True
        self.http.files, self.http.requests, self.http.pause = {}, [], None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def files(self):
        return self.http.files

    @property
    def requests(self):
        return self.http.requests

    @property
    def url(self):
        return f"https://localhost:{self.http.server_address[1]}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()
