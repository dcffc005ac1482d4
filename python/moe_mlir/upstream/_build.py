# ===- _build.py - builds ops through the user's own ir module -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What all builders share: from the description of an op to the op.

This file alone knows how an ``ir`` module makes operations. It uses only what every
build of MLIR's Python bindings has: ``Operation.create``, ``Attribute.parse``,
``Type.parse`` and the types of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ._specs import Attr, Operand, OpSpec, Result

__all__ = [
    "Attr",
    "Body",
    "OpSpec",
    "Operand",
    "Result",
    "Results",
    "attribute",
    "build",
    "enum_attribute",
]


class Results(Sequence[Any]):
    """The results of an op, by index and by name.

    Attributes
    ----------
    operation
        The op, of the ``ir`` module it was built with.
    names : tuple of str
        Names of the results, in order; each is an attribute of this object.
    """

    def __init__(self, operation: Any, names: Sequence[str]) -> None:
        self.operation = operation
        self.names = tuple(names)
        self._values = list(operation.results)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __getattr__(self, name: str) -> Any:
        # Not found the ordinary way: the name of a result, or of nothing.
        names = self.__dict__.get("names", ())
        if name in names:
            return self._values[names.index(name)]
        raise AttributeError(
            f"{self.__dict__.get('operation') and self.operation.name} has no "
            f"result '{name}'; it has: {', '.join(names) or 'none'}"
        )

    def __repr__(self) -> str:
        return f"Results({self.operation.name}: {', '.join(self.names)})"


def as_value(thing: Any) -> Any:
    """The value that `thing` is: a value, or an op with a single result."""
    if isinstance(thing, Results):
        if len(thing) != 1:
            raise TypeError(
                f"expected a value, got the {len(thing)} results of "
                f"{thing.operation.name}; choose one of: {', '.join(thing.names)}"
            )
        return thing[0]
    if hasattr(thing, "results") and hasattr(thing, "result"):
        return thing.result
    if not hasattr(thing, "type"):
        raise TypeError(f"expected a value of an ir module, got {thing!r}")
    return thing


def attribute(ir: Any, text: str) -> Any:
    """The attribute that `text` is, also one of a dialect `ir` does not have."""
    return ir.Attribute.parse(text)


def enum_attribute(ir: Any, template: str, cases: Sequence[str], value: str) -> Any:
    """The attribute of one case of an enum; `template` has a place for the case.

    Raises
    ------
    ValueError
        `value` is none of `cases`.
    """
    if value not in cases:
        raise ValueError(f"expected one of {', '.join(cases)}, got {value!r}")
    return attribute(ir, template.format(value))


def _quoted(text: str) -> str:
    """A string as MLIR's text writes it: every odd byte as two hex digits."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in (34, 92) else f"\\{byte:02X}"
        for byte in text.encode()
    )


def _whole_number(op: str, spec: Attr, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{op}: expected '{spec.name}' to be an int, got {value!r}")
    number = value.__index__()
    low, high = spec.minimum, spec.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{op}: expected '{spec.name}' to be {bounds}, got {number}")
    return int(number)


def _make_attribute(ir: Any, op: str, spec: Attr, value: Any) -> Any:
    """The attribute of `value`, or None for one that is left out."""
    if value is None or (spec.kind == "unit" and value is False):
        return None
    if isinstance(value, ir.Attribute):
        return value
    if spec.kind == "unit":
        if value is not True:
            raise TypeError(f"{op}: expected '{spec.name}' to be True or False, got {value!r}")
        return attribute(ir, "unit")
    if spec.kind == "i64":
        return attribute(ir, f"{_whole_number(op, spec, value)} : i64")
    if spec.kind == "i32s":
        numbers = ", ".join(str(_whole_number(op, spec, number)) for number in value)
        return attribute(ir, f"array<i32: {numbers}>" if numbers else "array<i32>")
    if not isinstance(value, str):
        raise TypeError(f"{op}: expected '{spec.name}' to be a str or an attribute, got {value!r}")
    if spec.kind == "symbol":
        return attribute(ir, f'@"{_quoted(value)}"')
    if spec.kind == "string":
        return attribute(ir, f'"{_quoted(value)}"')
    if spec.kind == "enum":
        if value not in spec.cases:
            raise ValueError(
                f"{op}: expected '{spec.name}' to be one of {', '.join(spec.cases)}, got '{value}'"
            )
        return attribute(ir, spec.template.format(value))
    return attribute(ir, value)


def _flatten(
    spec: OpSpec, given: Mapping[str, Any]
) -> tuple[list[Any], list[int], dict[str, list[Any]]]:
    """All operands in order, the size of each segment, and values by name."""
    values: list[Any] = []
    sizes: list[int] = []
    by_name: dict[str, list[Any]] = {}
    for operand in spec.operands:
        value = given[operand.name]
        if operand.arity == "variadic":
            segment = [as_value(v) for v in value]
        elif value is None:
            if operand.arity == "one":
                raise TypeError(f"{spec.name}: operand '{operand.name}' is missing")
            segment = []
        else:
            segment = [as_value(value)]
        by_name[operand.name] = segment
        values += segment
        sizes.append(len(segment))
    return values, sizes, by_name


def _default_result_types(
    ir: Any, spec: OpSpec, operands: Mapping[str, list[Any]]
) -> tuple[list[str], list[Any]]:
    """Names and types of results whose types follow from the definition."""
    names: list[str] = []
    types: list[Any] = []
    for result in spec.results:
        if result.same_as:
            like = operands[result.same_as]
            several = result.arity == "variadic"
            for i, value in enumerate(like):
                names.append(f"{result.name}_{i}" if several else result.name)
                types.append(value.type)
        elif result.arity != "one":
            continue
        elif result.type:
            names.append(result.name)
            types.append(ir.Type.parse(result.type))
        else:
            raise TypeError(
                f"{spec.name}: expected 'results', the type of '{result.name}'; "
                "it does not follow from the operands"
            )
    return names, types


def _names_of(spec: OpSpec, count: int) -> list[str]:
    """Names of `count` results whose types the caller gave."""
    fixed = [r.name for r in spec.results if r.arity != "variadic"]
    if len(fixed) == len(spec.results):
        return fixed[:count]
    rest = spec.results[-1].name
    return fixed + [f"{rest}_{i}" for i in range(count - len(fixed))]


Body = Callable[[], object]
"""Builds the ops of a region, at the insertion point that is current then."""


def _fill_regions(ir: Any, spec: OpSpec, operation: Any, bodies: Mapping[str, Body]) -> None:
    """Builds the ops of the regions. What goes wrong there leaves no op behind."""
    try:
        for region, name in zip(operation.regions, spec.regions, strict=True):
            if not callable(bodies[name]):
                raise TypeError(
                    f"{spec.name}: expected '{name}' to be a function that builds the ops of "
                    f"the region, got {bodies[name]!r}"
                )
            with ir.InsertionPoint(region.blocks.append()):
                bodies[name]()
    except BaseException:
        operation.erase()
        raise


Infer = Callable[
    [Any, Mapping[str, list[Any]], Mapping[str, Any], int | None],
    tuple[list[str], list[Any]],
]


def build(
    ir: Any,
    spec: OpSpec,
    operands: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    regions: Mapping[str, Body] | None = None,
    results: Sequence[Any] | None = None,
    infer: Infer | None = None,
    ranks: int | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """Builds one op at the insertion point.

    Parameters
    ----------
    ir
        The ``ir`` module of any build of MLIR's Python bindings.
    spec
        The op.
    operands, attributes
        By name. None, or an empty sequence, leaves an optional one out.
    regions : mapping from names to callables, optional
        What builds the ops of each region.
    results : sequence of types, optional
        Types of the results. Without it they are inferred.
    infer : callable, optional
        Names and types of the results of an op whose definition does not fix
        them, from its operands, attributes and `ranks`.
    ranks : int, optional
        Extent of the grid, for inference; without it the grid is looked up.
    loc, ip : optional
        Location and insertion point; those of the context managers otherwise.

    Returns
    -------
    Results

    Raises
    ------
    TypeError, ValueError
        An operand, attribute or type is missing or is not what was expected.
    RuntimeError
        The context neither knows the op nor allows ops it does not know.
    """
    values, sizes, by_name = _flatten(spec, operands)
    context = values[0].context if values else ir.Context.current
    if not (context.allow_unregistered_dialects or context.is_registered_operation(spec.name)):
        raise RuntimeError(
            f"expected a context that knows '{spec.name}' or allows what it does "
            "not know; set context.allow_unregistered_dialects = True"
        )
    with context:
        made = {
            attr.name: _make_attribute(ir, spec.name, attr, attributes[attr.name])
            for attr in spec.attributes
        }
        named = {name: value for name, value in made.items() if value is not None}
        if results is not None:
            types = list(results)
            names = _names_of(spec, len(types))
        elif infer is not None:
            names, types = infer(ir, by_name, attributes, ranks)
        else:
            names, types = _default_result_types(ir, spec, by_name)
        if spec.has_operand_segments:
            text = ", ".join(map(str, sizes))
            named["operandSegmentSizes"] = attribute(ir, f"array<i32: {text}>")
        operation = ir.Operation.create(
            spec.name,
            results=types,
            operands=values,
            attributes=named,
            regions=len(spec.regions),
            loc=loc,
            ip=ip,
        )
        _fill_regions(ir, spec, operation, regions or {})
    return Results(operation, names)
