"""What a caller of the library gives back: by ``close()``, or as a context at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closable(ABC):
    """A context whose end closes it, whatever ended it; no exception is held back."""

    @abstractmethod
    def close(self) -> None:
        """Give it back; once is enough."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended_by: object) -> None:
        self.close()
