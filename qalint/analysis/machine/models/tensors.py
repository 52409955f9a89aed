"""Methods of tensors that keep a dtype, numbers that are no tensors, and constants written into tensors."""

from __future__ import annotations

from ..calls import Call
from ..refusals import overflow
from ..values import Lib, Term, Value, flow_of, mix, term
from . import library, method

FILLS = {"masked_fill": 1, "masked_fill_": 1, "fill_": 0, "index_fill": 2, "index_fill_": 2, "new_full": 1}
"""Methods that write a number into a tensor, with its position."""


@method(
    "*",
    *(
        "flatten",
        "unflatten",
        "expand",
        "expand_as",
        "repeat",
        "chunk",
        "split",
        "unbind",
        "narrow",
        "swapaxes",
    ),
    *(
        "movedim",
        "roll",
        "flip",
        "view_as",
        "softmax",
        "log_softmax",
        "relu",
        "sigmoid",
        "tanh",
        "exp",
        "abs",
    ),
    *("tril", "triu", "unfold", "select", "index_select", "gather", "repeat_interleave"),
)
def same_dtype(call: Call) -> Value:
    """Another form of the same numbers, or a function of each."""
    receiver = call.receiver
    if type(receiver) is not Term or receiver.flow is None:
        return NotImplemented
    flow = receiver.flow
    for value in call.values:
        flow = mix(flow, flow_of(value), call.place) or flow
    return call.fresh(flow._replace(dtype=receiver.flow.dtype))


@method("*", "size", "dim", "numel", "nelement", "ndimension")
def count(call: Call) -> Value:
    """A number, or a tuple of them."""
    if type(call.receiver) is not Term or call.receiver.flow is None:
        return NotImplemented
    return term("call", Lib(f"tensor.{call.name}"), call.receiver, *call.args)


@library("math.*")
def number(call: Call) -> Value:
    """A function of numbers."""
    return term("call", call.callee, *call.values)


@method("*", *FILLS)
def fill(call: Call) -> Value:
    """`x.masked_fill(mask, number)`: the tensor keeps its dtype."""
    receiver = call.receiver
    if type(receiver) is not Term or receiver.flow is None:
        return NotImplemented
    index = FILLS[call.name]
    if "dtype" not in call.keywords:
        overflow(call, receiver, index, "fill_value" if call.name == "new_full" else "value")
    if call.name == "new_full":
        return call.fresh()
    return receiver if call.name.endswith("_") else call.fresh(receiver.flow)


@library("torch.masked_fill", "torch.full_like")
def filled(call: Call) -> Value:
    """The functions of the same name."""
    if not call.args:
        return call.fresh()
    like = call.callee.name.endswith("full_like")
    if "dtype" not in call.keywords:
        overflow(call, call.args[0], 1 if like else 2, "fill_value" if like else "value")
    flow = flow_of(call.args[0])
    return call.fresh(None if flow is None or (like and "dtype" in call.keywords) else flow)
