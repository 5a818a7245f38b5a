"""A host on loopback that speaks https with a certificate of its own making, and does what hosts do when they misbehave."""

import datetime
import ipaddress
import re
import ssl
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MANY = 1 << 62


def make_certificate(path):
    """Write a key and a certificate for 127.0.0.1, signed by itself, into one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))


class Host(ThreadingHTTPServer):
    """Answers every request with the same content.

    Attributes:
        content: what is there.
        breaks: after how many bytes of each answer's body the connection breaks, in order; then never.
        takes_ranges: whether a request for a part gets a part.
        leads_to: where every request is sent on, if anywhere.
        says_length: whether the answer says how long it is.
        asked: the Range of each request.
    """

    def __init__(self, content=b""):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.breaks, self.takes_ranges, self.leads_to, self.says_length = content, [], True, None, True
        self.asked = []
        self.context = None

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.server_address[1]}/"

    def get_request(self):
        """Shake hands in the thread of the request."""
        accepted, address = super().get_request()
        if self.context is None:
            return accepted, address
        return self.context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        """Say nothing: clients hang up on this one."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        host, asked = self.server, self.headers.get("Range")
        host.asked.append(asked)
        if host.leads_to:
            self.send_response(302)
            self.send_header("Location", host.leads_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and host.takes_ranges else 0
        if start >= len(host.content) > 0 and start:
            self.send_error(416)
            return
        body = host.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(host.content) - 1}/{len(host.content)}")
        if host.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: host.breaks.pop(0) if host.breaks else MANY])

    def log_message(self, *arguments):
        """Say nothing."""


@contextmanager
def hosted(content=b"", certificate=None):
    """Run a host, over https where there is a certificate."""
    host = Host(content)
    if certificate is not None:
        host.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        host.context.load_cert_chain(certificate)
    thread = Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield host
    finally:
        host.shutdown()
        thread.join()
        host.server_close()
