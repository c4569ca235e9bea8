"""JSON documents that a server changes by patches (RFC 6902), within limits.

``jsonpatch`` applies the operations. What is added here is for patches that come from strangers:

* A document is a *value*: one that was handed out stays as it was. Each patch works on copies of
  the containers on its way, and of nothing else, so a patch that fails leaves nothing behind, and a
  small patch of a large document is cheap.
* What ``copy`` copies is weighed before it is copied, and counts for good: a few of them would
  double a document again and again, or keep the processor busy with copies for the bin.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from jsonpatch import JsonPatch, JsonPatchTestFailed, JsonPointer

from sansio_sse import LimitExceeded, SSEError

from .budget import Budget, weight
from .errors import PatchFailed, quoted

__all__ = ["Document"]


class _Operation(Protocol):
    def model_dump(self, *, by_alias: bool | None = None) -> dict[str, Any]: ...


class Document:
    """A JSON value; ``value`` is not to be changed by whoever looks at it.

    ``kind``: what it has to be, also after a patch. Raises
    :class:`~sansio_sse.errors.LimitExceeded` for a value that is too heavy.
    """

    __slots__ = ("_budget", "_kind", "size", "value")

    def __init__(self, value: Any, budget: Budget, kind: type = object) -> None:
        self._budget = budget
        self._kind = kind
        self.size: int = 0
        self.value: Any = None
        self.replace(value)

    def replace(self, value: Any) -> None:
        """Have another value."""
        size = weight(value)
        self._budget.take(size, instead_of=self.size)
        self.value, self.size = value, size

    def forget(self) -> None:
        """Count for nothing any more; somebody else has given back what it took."""
        self.size = 0

    def patch(self, operations: Sequence[_Operation]) -> None:
        """Apply all operations, or none.

        Raises :class:`PatchFailed` if one cannot be applied, and
        :class:`~sansio_sse.errors.LimitExceeded`.
        """
        raw = [operation.model_dump(by_alias=True) for operation in operations]
        added = sum(map(_added, raw))
        self._make_room(added)
        self._budget.take(added)
        try:
            value = _Patching(self.value, self._budget).apply(raw)
            if not isinstance(value, self._kind):
                raise PatchFailed(f"the patch would leave a {type(value).__name__}")
        except SSEError:
            self._budget.give(added)
            raise
        self.value = value
        self.size += added

    def _make_room(self, added: int) -> None:
        """Weigh the document anew if there is no room for more; it has grown by estimate."""
        if self._budget.used + added <= self._budget.limit:
            return
        size = weight(self.value)
        # Not for a little room: weighing takes its time, and would be done for each patch.
        if size > self.size // 2:
            raise LimitExceeded(f"patches need more than the limit of {self._budget.limit}")
        self._budget.take(size, instead_of=self.size)
        self.size = size


class _Patching:
    """One patch on its way through a document."""

    def __init__(self, document: Any, budget: Budget) -> None:
        self._document = document
        self._budget = budget
        # By id; it has them, so that no id comes again.
        self._own: dict[int, Any] = {}

    def apply(self, operations: Iterable[dict[str, Any]]) -> Any:
        for number, operation in enumerate(operations, 1):
            try:
                self._apply(operation)
            except LimitExceeded:
                raise
            except Exception as error:  # whatever a stranger's patch makes of jsonpatch
                what = f"{operation['op']} {quoted(operation['path'])}"
                raise PatchFailed(
                    f"operation {number} of the patch, {what}, cannot be applied:"
                    f" {type(error).__name__}",
                    cause=error,
                ) from error
        return self._document

    def _apply(self, operation: dict[str, Any]) -> None:
        path = JsonPointer(operation["path"]).parts
        match operation["op"]:
            case "test":
                # Before jsonpatch does, whose error shows the whole of what it has found.
                if JsonPointer(operation["path"]).resolve(self._document) != operation["value"]:
                    raise JsonPatchTestFailed("not equal")
            case "copy":
                source = JsonPointer(operation["from"]).resolve(self._document)
                self._budget.take(weight(source))
            case "move":
                source = JsonPointer(operation["from"]).parts
                self._make_own(source)
                self._make_own(_before_removal(path, source))
            case _:
                pass
        self._make_own(path)
        self._document = JsonPatch([operation]).apply(self._document, in_place=True)

    def _make_own(self, path: Sequence[str]) -> None:
        """Copy the containers on the way to ``path`` that are not this patch's own yet."""
        here = self._document = self._copied(self._document)
        try:
            for part in path[:-1]:
                key: Any = int(part) if isinstance(here, list) else part
                there = self._copied(here[key])
                here[key] = there
                here = there
        except (IndexError, KeyError, TypeError, ValueError):
            pass  # there is no such way, and jsonpatch will say so

    def _copied(self, container: Any) -> Any:
        if not self._is_shared(container):
            return container
        copied = container.copy()
        self._own[id(copied)] = copied
        return copied

    def _is_shared(self, value: object) -> bool:
        return id(value) not in self._own and isinstance(value, dict | list)


def _added(operation: dict[str, Any]) -> int:
    """Return by how much an operation makes a document heavier at most, copies apart."""
    match operation["op"]:
        case "add" | "replace":
            return weight(operation["value"]) + len(operation["path"])
        case "copy" | "move":
            return len(operation["path"])  # it may be a new name
        case _:
            return 0


def _before_removal(path: Sequence[str], removed: Sequence[str]) -> Sequence[str]:
    """Return where ``path`` leads before something is removed from a list that it goes through."""
    last = len(removed) - 1
    if not 0 <= last < len(path) or not path[last].isdecimal():
        return path
    return [*path[:last], str(int(path[last]) + 1), *path[last + 1 :]]
