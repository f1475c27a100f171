"""A connection that breaks where one wants it to: after the request, before the answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from .processes import free_port


class Relay:
    """Passes bytes on to a port of the loopback, as a proxy does.

    Parameters
    ----------
    port : int
        Of the server.
    """

    def __init__(self, port: int) -> None:
        self.to = port
        self.port = free_port()
        #: How many of the next answers to requests of a method are lost, by the method's name.
        self.lose: dict[str, int] = {}
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        """Take no connection any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[near], daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        """Take turns: one client sends a request, then waits for its answer."""
        with near, socket.create_connection(("127.0.0.1", self.to)) as far:
            broken = threading.Event()
            asked = [b""]

            def answer() -> None:
                with contextlib.suppress(OSError):
                    while data := far.recv(65536):
                        method = asked[0].decode()
                        if self.lose.get(method, 0) > 0:
                            self.lose[method] -= 1
                            broken.set()
                            near.shutdown(socket.SHUT_RDWR)
                            return
                        near.sendall(data)

            back = threading.Thread(target=answer, daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while not broken.is_set() and (data := near.recv(65536)):
                    method = data.partition(b" ")[0]
                    if method in (b"GET", b"POST", b"PATCH", b"PUT", b"DELETE"):
                        asked[0] = method
                    far.sendall(data)
                far.shutdown(socket.SHUT_WR)
            back.join(60)


@contextlib.contextmanager
def relayed(port: int) -> Iterator[Relay]:
    """Have a relay to a server."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.stop()
