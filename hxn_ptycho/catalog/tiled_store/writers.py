"""Documents into a Tiled catalog by Bluesky's own writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..backend import Document
from ..documents import StreamDocuments
from ..hdf5 import Roots
from .permissions import refusals

if TYPE_CHECKING:
    from ..registry import AssetRegistry
    from .backend import TiledStore


class TiledWriter:
    """Writes one run by Bluesky's own Tiled writer: any document, at 25 requests a scan."""

    def __init__(
        self, store: TiledStore, registry: AssetRegistry | None = None, roots: Roots = ()
    ) -> None:
        import bluesky_tiled_plugins

        self.store = store
        self._translate = StreamDocuments(registry=registry, roots=roots)
        self._writer: Callable[[str, Document], None] = bluesky_tiled_plugins.TiledWriter(
            # SQLite holds no lists: every array is stored as one.
            store.runs,
            max_array_size=0,
        )

    def __call__(self, name: str, document: Document) -> None:
        """Store one document."""
        with self.store.writing(), refusals(self.store):
            for each, translated in self._translate(name, document):
                if each == "stop" and self._translate.notes:
                    translated = {**translated, "storage_notes": self._translate.notes}
                self._writer(each, translated)

    def idle(self) -> None:
        """Do nothing: Bluesky's writer stores what waits when the run stops."""
