"""Filters such as ``kb > 500 and axes == 'TCYX'``, evaluated without ever running them as code."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

from nd2._core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 2000


class Filter:
    """A condition on the columns of a row.

    Comparisons, ``and``, ``or``, ``not``, ``in``, sums and products of numbers, ``len()`` and items (``shape[0]``) are
    understood; anything else is refused when the filter is made.

    Parameters
    ----------
    text : str
        The condition, in Python's notation.
    columns : collection of str
        Names that it may use.

    Raises
    ------
    ValueError
        If the text is no such condition; the message says what is wrong with it.
    """

    def __init__(self, text: str, columns: Collection[str]) -> None:
        self.text = text
        self._columns = columns
        if len(text) > _LONGEST:
            raise ValueError(f"the filter is longer than {_LONGEST} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            self._check(self._tree)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"filter {text!r} cannot be understood: {error}") from None

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row fulfils the condition.

        Raises
        ------
        ValueError
            If it compares what cannot be compared, such as a number with a text.
        """
        try:
            return bool(self._value(self._tree, row))
        except (TypeError, IndexError, KeyError, ZeroDivisionError) as error:
            raise ValueError(f"filter {self.text!r} does not fit: {error}") from None

    def _refuse(self, what: str) -> None:
        raise ValueError(
            f"filter {self.text!r}: {what} is not allowed; conditions compare the columns {', '.join(self._columns)}"
        )

    def _check(self, node: ast.expr) -> None:
        """Refuse whatever is not understood."""
        if isinstance(node, ast.Name) and node.id not in self._columns:
            unknown = errors.no_such("column", node.id, self._columns)
            raise ValueError(f"filter {self.text!r}: {unknown}")
        known: tuple[type[ast.expr], ...] = (
            ast.BoolOp, ast.UnaryOp, ast.Compare, ast.BinOp, ast.Name, ast.Constant, ast.List,
            ast.Tuple, ast.Subscript, ast.Call,
        )  # fmt: skip
        if not isinstance(node, known):
            self._refuse(type(node).__name__)
        if isinstance(node, ast.BinOp) and type(node.op) not in _ARITHMETIC:
            self._refuse(type(node.op).__name__)
        if isinstance(node, ast.Call):
            plain = isinstance(node.func, ast.Name) and node.func.id == "len"
            if not plain or len(node.args) != 1 or node.keywords:
                self._refuse("a call other than len()")
        parts = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        for part in parts:
            if isinstance(part, ast.expr):
                self._check(part)

    def _value(self, node: ast.expr, row: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return row[node.id]
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(item, row) for item in node.elts]
        if isinstance(node, ast.BoolOp):
            values = (bool(self._value(item, row)) for item in node.values)
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, row)
            return not value if isinstance(node.op, ast.Not) else -_number(value)
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, row), self._value(node.right, row)
            return _ARITHMETIC[type(node.op)](_number(left), _number(right))
        if isinstance(node, ast.Subscript):
            return self._value(node.value, row)[self._value(node.slice, row)]
        if isinstance(node, ast.Call):
            return len(self._value(node.args[0], row))
        assert isinstance(node, ast.Compare)
        left = self._value(node.left, row)
        for op, item in zip(node.ops, node.comparators, strict=True):
            right = self._value(item, row)
            if not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
