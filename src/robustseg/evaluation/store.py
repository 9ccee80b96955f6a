"""One SQLite file per run folder: keys, runs and rows of per-image statistics. Standard library only.

A batch commits in one transaction, so that a kill at any moment leaves whole batches; the default rollback
journal and a busy timeout let two processes share the file. A row holds numbers only when its status is
``ok``: the table refuses anything else, so that a failed run can never inherit a predecessor's result.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.evaluation.key import canonical, run_key

__all__ = ["NAME", "STATUSES", "Contents", "Row", "Run", "Store", "read"]

NAME = "store.sqlite"
SCHEMA = 1
BUSY_SECONDS = 60.0
STATUSES = ("ok", "failed", "violation", "not-applicable")

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, config TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, created REAL NOT NULL, request TEXT NOT NULL UNIQUE,
  info TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
  key TEXT NOT NULL REFERENCES keys(key), image TEXT NOT NULL, position INTEGER NOT NULL, content TEXT NOT
  NULL, status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'violation', 'not-applicable')),
  error TEXT, stats TEXT, extra TEXT, norms TEXT,
  budget_f INTEGER NOT NULL, budget_b INTEGER NOT NULL, forwards INTEGER NOT NULL, backwards INTEGER NOT NULL,
  seconds REAL NOT NULL, trace TEXT, batch TEXT NOT NULL, device TEXT NOT NULL,
  PRIMARY KEY (key, image),
  CHECK ((status = 'ok') = (stats IS NOT NULL)),
  CHECK (status = 'ok' OR (extra IS NULL AND norms IS NULL AND trace IS NULL)),
  CHECK ((status IN ('failed', 'violation')) = (error IS NOT NULL))
) WITHOUT ROWID;
"""
JSON_COLUMNS = ("stats", "extra", "norms", "trace")
COLUMNS = [
    "key",
    "image",
    "position",
    "content",
    "status",
    "error",
    "stats",
    "extra",
    "norms",
    "budget_f",
    "budget_b",
    "forwards",
    "backwards",
    "seconds",
    "trace",
    "batch",
    "device",
]


@dataclass(frozen=True)
class Row:
    """One image under one key; ``stats`` as in ``tasks.semantic.statistics``; costs are those of the one image."""

    key: str
    image: str
    position: int
    content: str = ""
    status: str = "ok"
    error: str | None = None
    stats: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None
    norms: dict[str, float] | None = None
    budget_f: int = 0
    budget_b: int = 0
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0
    trace: list[float] | None = None
    batch: str = ""  # positions of the images it was attacked together with, "0 1 2 3"; recorded only
    device: str = "cpu"


@dataclass(frozen=True)
class Run:
    """What one command asked for: ``clean`` key, ``attacks`` {spec: key}, ``ensembles`` {spec: [member
    specs]}, image ids in order, and ``info`` (model, data, classes, versions …), no part of an identity."""

    clean: str
    attacks: dict[str, str]
    images: list[str]
    ensembles: dict[str, list[str]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """A whole store in memory: ``rows[key][image]`` in the order of positions; ``runs`` oldest first."""

    keys: dict[str, dict[str, Any]]
    rows: dict[str, dict[str, Row]]
    runs: list[Run]
    meta: dict[str, str]


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as problem:
        raise UserError(_explain(path, problem)) from problem


def _explain(path: Path, problem: sqlite3.Error) -> str:
    text = str(problem)
    kept = "rows written before are safe"
    if "disk is full" in text or "disk I/O" in text:
        return f"cannot write {path}: {text}; {kept}: free some space and run the same command again"
    if "locked" in text or "busy" in text:
        return f"{path} is held by another process ({text}); {kept}: try again when it has finished"
    if "not a database" in text or "malformed" in text:
        return f"{path} is damaged or not a store ({text}); move it away and run the same command again"
    if "readonly" in text or "unable to open" in text:
        return f"cannot write {path} ({text}); choose a folder with --out that you may write to"
    return f"{path}: {text}; {kept}"


class Store:
    """The open store of a run folder; a context manager. Reading never creates a file.

    Raises UserError, one line, for a damaged, locked, unwritable or newer file and for a full disk; rows
    already committed stay.
    """

    def __init__(self, folder: str | Path, *, write: bool = True):
        self.path = Path(folder) / NAME
        if write:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise UserError(
                    f"cannot make the folder {self.path.parent} ({problem.strerror}); choose another --out"
                ) from problem
        elif not self.path.is_file():
            parts = sorted(str(p.parent) for p in Path(folder).glob(f"members/*/{NAME}"))
            if parts:
                raise UserError(f"{folder} is about several models; give the folder of one: {', '.join(parts)}")
            raise UserError(f"no {NAME} in {folder}; give the folder that `robustseg evaluate --out` wrote")
        with _one_line(self.path):
            mode = "rwc" if write else "ro"
            uri = f"{self.path.absolute().as_uri()}?mode={mode}"
            self.base = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            if write:
                self._create()
        version = self.meta().get("schema", "?")
        if version != str(SCHEMA):
            raise UserError(
                f"{self.path} has schema {version}, this version reads {SCHEMA}; use the version that wrote it"
            )

    def _create(self) -> None:
        # A fresh file is set up under the write lock: two processes may start at the same moment.
        if self.base.execute("SELECT count(*) FROM sqlite_master WHERE name = 'rows'").fetchone()[0]:
            return
        with self._transaction():
            for statement in TABLES.split(";\n"):
                if statement.strip():
                    self.base.execute(statement)
            self.base.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.base.execute("COMMIT")
        except BaseException:
            if self.base.in_transaction:
                self.base.execute("ROLLBACK")
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.base.close()

    # -- writing

    def add_key(self, config: Mapping[str, Any]) -> str:
        """Records a configuration and returns its key."""
        key = run_key(config)
        with _one_line(self.path), self._transaction():
            self.base.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key, canonical(config)))
        return key

    def add_run(self, run: Run) -> None:
        """Records what a command asked for; the same request again only becomes the newest."""
        request = canonical({name: getattr(run, name) for name in Run.__dataclass_fields__ if name != "info"})
        with _one_line(self.path), self._transaction():
            self.base.execute("DELETE FROM runs WHERE request = ?", (request,))
            values = (time.time(), request, canonical(run.info))
            self.base.execute("INSERT INTO runs (created, request, info) VALUES (?, ?, ?)", values)

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Commits the rows of a batch: all of them or none. A batch made again replaces its rows."""
        values = [tuple(_packed(row, name) for name in COLUMNS) for row in rows]
        marks = ",".join("?" * len(COLUMNS))
        with _one_line(self.path), self._transaction():
            self.base.executemany(f"INSERT OR REPLACE INTO rows ({','.join(COLUMNS)}) VALUES ({marks})", values)

    def set_meta(self, name: str, value: str) -> None:
        """Keeps a small fact, such as the batch size that fitted."""
        with _one_line(self.path), self._transaction():
            self.base.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # -- reading

    def meta(self) -> dict[str, str]:
        """The small facts, ``schema`` among them."""
        with _one_line(self.path):
            try:
                return dict(self.base.execute("SELECT name, value FROM meta").fetchall())
            except sqlite3.OperationalError as problem:
                if "no such table" not in str(problem):
                    raise
                raise UserError(f"{self.path} is not a store of robustseg; give another folder") from problem

    def statuses(self, key: str, images: Sequence[str]) -> dict[str, str]:
        """Image id -> status of the rows that there are; cheap, read before each batch."""
        marks = ",".join("?" * len(images))
        with _one_line(self.path):
            found = self.base.execute(
                f"SELECT image, status FROM rows WHERE key = ? AND image IN ({marks})", (key, *images)
            )
            return dict(found.fetchall())

    def row(self, key: str, image: str) -> Row | None:
        """One row, or None."""
        return next(self._rows("WHERE key = ? AND image = ?", (key, image)), None)

    def _rows(self, where: str = "", values: tuple[str, ...] = ()) -> Iterator[Row]:
        with _one_line(self.path):
            found = self.base.execute(f"SELECT {','.join(COLUMNS)} FROM rows {where} ORDER BY key, position", values)
            for record in found:
                fields = dict(zip(COLUMNS, record, strict=True))
                for name in JSON_COLUMNS:
                    if fields[name] is not None:
                        fields[name] = json.loads(fields[name])
                yield Row(**fields)

    def contents(self) -> Contents:
        """Everything, read in one snapshot."""
        with _one_line(self.path):
            self.base.execute("BEGIN")
            try:
                keys = {k: json.loads(c) for k, c in self.base.execute("SELECT key, config FROM keys ORDER BY key")}
                found = self.base.execute("SELECT request, info FROM runs ORDER BY id")
                runs = [Run(**json.loads(request), info=json.loads(info)) for request, info in found]
                rows: dict[str, dict[str, Row]] = {key: {} for key in keys}
                for row in self._rows():
                    rows[row.key][row.image] = row
                return Contents(keys, rows, runs, self.meta())
            finally:
                self.base.execute("COMMIT")


def _packed(row: Row, name: str) -> Any:
    value = getattr(row, name)
    return canonical(value) if name in JSON_COLUMNS and value is not None else value


def read(folder: str | Path) -> Contents:
    """The contents of ``folder/store.sqlite``. Needs no torch; raises UserError where there is no readable store."""
    with Store(folder, write=False) as store:
        return store.contents()
