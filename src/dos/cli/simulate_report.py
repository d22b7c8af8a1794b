"""The records of incidents as a file: JSON, one a line, or a Markdown document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dos.kit.errors import PermanentError

if TYPE_CHECKING:
    from dos.simulate.postmortem import Postmortem


@contextmanager
def report_file(path: Path | None) -> Iterator[Callable[[Postmortem], object] | None]:
    """Writes each record to `path` when it is made, so that an interrupted run keeps its own.

    Raises:
        PermanentError: The file cannot be written.
    """
    if path is None:
        yield None
        return
    from dos.simulate.postmortem import POSTMORTEM, markdown

    in_words = path.suffix == ".md"
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}."
        raise PermanentError(msg, remedy="Choose another file with --report.") from error
    with file:
        if in_words:
            file.write("# Incidents\n\n")

        def keep(record: Postmortem) -> None:
            text = markdown(record) if in_words else POSTMORTEM.dump_json(record).decode()
            file.write(text + "\n")
            file.flush()

        yield keep
