"""Conditions that select rows of a catalog: ``kb > 500 and 'Z' in axes``."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, TypeAlias

from nd2._core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Condition: TypeAlias = "Callable[[Mapping[str, Any]], bool]"

_MAX_CONDITION = 2000
_NODES = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Subscript, ast.Call,
)  # fmt: skip


def parse_condition(text: str, columns: Collection[str]) -> Condition:
    """Return a condition such as ``kb > 500 and axes == 'TCYX'`` as a function of a row.

    Comparisons, ``and``, ``or``, ``not``, ``in``, sums and products of numbers, ``len()`` and items (``shape[0]``) of
    columns and constants are allowed. Other names, attributes and calls are refused.
    """
    if len(text) > _MAX_CONDITION:
        raise ValueError(f"the filter is longer than {_MAX_CONDITION} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        for node in ast.walk(tree.body):
            _check_node(node, text, columns)
        code = compile(ast.fix_missing_locations(_Arithmetic().visit(tree)), "<filter>", "eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"filter {text!r} cannot be understood: {error}") from None

    def condition(row: Mapping[str, Any]) -> bool:
        try:
            return bool(eval(code, {"__builtins__": {}, "len": len, "_number": _number}, dict(row)))
        except (TypeError, IndexError, KeyError, ZeroDivisionError) as error:
            raise ValueError(f"filter {text!r} does not fit: {error}") from None

    return condition


def _check_node(node: ast.AST, text: str, columns: Collection[str]) -> None:
    """Raise an error for anything that a condition must not contain."""
    is_len = isinstance(node, ast.Call) and ast.unparse(node.func) == "len" and len(node.args) == 1
    if isinstance(node, ast.Name) and node.id not in columns and node.id != "len":
        raise ValueError(f"filter {text!r}: {errors.no_such('column', node.id, columns)}")
    if not isinstance(node, _NODES) or (isinstance(node, ast.Call) and not is_len):
        raise ValueError(
            f"filter {text!r}: {type(node).__name__} is not allowed; conditions compare the columns "
            f"{', '.join(columns)}"
        )


class _Arithmetic(ast.NodeTransformer):
    """Lets sums and products take numbers only: text times a number may fill the memory."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        """Check both operands."""
        left, right = (
            ast.Call(ast.Name("_number", ast.Load()), [self.visit(part)], []) for part in (node.left, node.right)
        )
        return ast.BinOp(left, node.op, right)


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def holds(condition: Condition, row: Mapping[str, Any]) -> bool:
    """Return whether a condition is true for a row."""
    try:
        return condition(row)
    except ValueError:
        if row["error"]:  # a bad file has no values to compare
            return False
        raise
