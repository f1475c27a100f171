"""SQLite as Tiled asks it, but for one thing: JSON paths are written into the SQL.

SQLite uses an index of an expression only if a query has the same expression, written out. Tiled's
queries have ``JSON_EXTRACT(nodes.metadata, ?)``, which fits no index. By this dialect of SQLAlchemy
they have ``JSON_EXTRACT(nodes.metadata, '$."start"."scan_id"')``, which fits those of `indices`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

#: Of the database's address; SQLAlchemy finds the dialect by it. (No underscore: Tiled wants none.)
DRIVER = "literalpaths"


class _Compiler(SQLiteCompiler):
    def visit_json_path_getitem_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        # "Executed" literals are rendered anew each time: SQLAlchemy keeps compiled queries.
        kw["literal_execute"] = True
        return str(super().visit_json_path_getitem_op_binary(binary, operator, **kw))


class Dialect(SQLiteDialect_aiosqlite):
    """``sqlite+literalpaths``: aiosqlite, with JSON paths in the SQL."""

    driver = DRIVER
    statement_compiler = _Compiler
    supports_statement_cache = True


registry.register(f"sqlite.{DRIVER}", __name__, Dialect.__name__)
