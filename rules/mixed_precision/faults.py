"""What the rules share that read the story: from a fault to a finding, and the repairs of a step.

The abstract machine says which fault happened, where, and with what objects; a rule of this section
says it to the user in their own names and changes the text. `Repair` has the changes that several
rules make: move a call, insert one, put a statement under the guard of another.
"""

from __future__ import annotations

import ast
import re

from qalint.analysis.edits import Changes, Edits
from qalint.analysis.machine.scope import trains
from qalint.analysis.machine.story import Fault, Story
from qalint.analysis.names import Names
from qalint.file import File
from qalint.rule import Confidence, Finding, Fix, Iterator, Rule, Severity

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")


class FaultRule(Rule):
    """A rule that speaks of the faults that bear its name; most are of a step, which ends a backward."""

    gate = staticmethod(trains)

    def check(self, story: Story) -> Iterator[Finding]:
        """One finding for each confirmed fault."""
        for fault in story.faults(self.name):
            if not self.speaks(fault):
                continue
            repair = Repair(fault)
            message, help = self.say(fault, repair)
            yield self.finding(
                fault.place,
                message,
                related=fault.related,
                confidence=self.trust(fault, repair),
                severity=self.weigh(fault),
                help=help,
                fix=self.repair(fault, repair),
            )

    def speaks(self, fault: Fault) -> bool:
        """Whether this fault is one to report."""
        return True

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """The message and what to do, in the user's own names."""
        raise NotImplementedError

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """The fix, where the text has a form that it handles."""
        return None

    def trust(self, fault: Fault, repair: Repair) -> Confidence:
        """How sure the finding is: less in an `except`, which nobody can say is ever reached."""
        if any(guard.text == "raised" and guard.outcome for guard in fault.guards):
            return Confidence.MEDIUM
        return fault.confidence

    def weigh(self, fault: Fault) -> Severity:
        """The severity of this fault."""
        return self.severity


class Repair:
    """The statements of one fault in the file of its finding, and the changes that mend a step."""

    def __init__(self, fault: Fault) -> None:
        edits = fault.file.get(Edits)
        names = fault.file.get(Names)
        assert edits is not None and names is not None
        self.fault = fault
        self.file: File = fault.file
        self.edits = edits
        self.names = names

    def node(self, role: str) -> ast.AST | None:
        """The node that the fault gives in a role, if it lies in the finding's own file."""
        found = self.fault.data.get(role)
        return found[0] if found is not None and found[1] is self.file else None

    def statement(self, role: str) -> ast.stmt | None:
        """The statement around the node of a role."""
        node = self.node(role)
        return self.edits.statement(node) if node is not None else None

    def name(self, role: str, at: ast.AST) -> str | None:
        """The user's name of an object, if it can be written at `at`."""
        text = self.fault.names.get(role, "")
        if not _NAME.match(text):
            return None
        return text if self.visible(text.partition(".")[0], at) else None

    def visible(self, root: str, at: ast.AST) -> bool:
        """Whether a name is bound in a scope around `at`."""
        scope = self.names.module
        statement = self.edits.statement(at)
        holders = [statement, *self.edits.parents(statement)] if statement is not None else []
        for holder in holders:
            if holder in self.names.scopes and not isinstance(holder, ast.ClassDef) and holder is not at:
                scope = self.names.scopes[holder]
                break
        return bool(scope.find(root))

    def same_suite(self, one: ast.stmt | None, other: ast.stmt | None) -> bool:
        """Whether two statements stand in one block."""
        if one is None or other is None:
            return False
        first, second = self.edits.seat(one), self.edits.seat(other)
        return first is not None and second is not None and first.block is second.block

    def in_block_of(self, statement: ast.stmt, other: ast.stmt) -> ast.stmt | None:
        """The statement around `statement` (or itself) that stands in the block of `other`."""
        seat = self.edits.seat(other)
        if seat is None:
            return None
        for holder in (statement, *self.edits.parents(statement)):
            if any(holder is item for item in seat.block):
                return holder if isinstance(holder, ast.stmt) else None
        return None

    def function(self, node: ast.AST | None) -> ast.AST | None:
        """The function around a node; None at module level, where the cells of a notebook are too."""
        found = self.edits.function(node) if node is not None else None
        if found is not None and self.names.scopes[found].kind == "cell":
            return None
        return found

    def call_statement(self, statement: ast.stmt) -> ast.Call | None:
        """The call that a statement consists of."""
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            return statement.value
        return None

    def calls(self, method: str, receiver: str, inside: ast.AST) -> list[ast.stmt]:
        """The statements `receiver.method(...)` below a node, in file order."""
        found = []
        for node in ast.walk(inside):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
                continue
            func = node.value.func
            named = isinstance(func, ast.Attribute) and func.attr == method
            if named and self.edits.segment(func.value) == receiver:  # type: ignore[attr-defined]
                found.append(node)
        return sorted(found, key=lambda node: node.lineno)

    def swap_after(self, moved: ast.stmt | None, target: ast.stmt | None) -> Changes | None:
        """Move one statement behind another of the same block."""
        if moved is None or target is None or not self.same_suite(moved, target):
            return None
        return self.edits.move_after(moved, target)

    def unscale_before(self, statement: ast.stmt, step: ast.stmt) -> Changes | None:
        """Insert `scaler.unscale_(optimizer)` before a statement, under the guard that the step has.

        None where the step is taken under a test that the statement does not share and that is not
        about the scaler: there the unscaling would come too often.
        """
        scaler, optimizer = self.name("scaler", statement), self.name("optimizer", statement)
        if scaler is None or optimizer is None:
            return None
        line = f"{scaler}.unscale_({optimizer})"
        around = self.in_block_of(step, statement)
        if around is step or self.in_block_of(statement, step) is not None:
            return self.edits.insert_before(statement, line)
        if isinstance(around, ast.If) and any(item is step for item in around.body):
            test = self.edits.segment(around.test)
            if re.search(rf"\b{re.escape(scaler)}\b", test) and "%" not in test:
                return self.edits.insert_before(statement, f"if {test}:", f"    {line}")
        return None

    def outermost_loop_over_parameters(self, statement: ast.stmt) -> ast.stmt:
        """The loop over parameters in which a gradient is changed by hand, or the statement itself."""
        found = statement
        for holder in self.edits.parents(statement):
            if isinstance(holder, ast.For) and "parameters" in ast.dump(holder.iter):
                found = holder
            elif not isinstance(holder, (ast.If, ast.For)):
                break
        return found


def receiver(call: ast.AST | None) -> ast.expr | None:
    """`x` of the call `x.method(...)`."""
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        return call.func.value
    return None
