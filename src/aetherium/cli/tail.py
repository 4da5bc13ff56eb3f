"""Commands that end in somebody else's command line."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand
from typer.exceptions import TyperException


class TailCommand(TyperCommand):
    """Its last argument is ``argv``: ``vm exec [OPTIONS] VM [OPTIONS] -- COMMAND…``, or without a ``--``.

    Before a ``--`` that follows our own arguments, options may stand anywhere. Without one, all from the
    first word of the command on belongs to the command: ``vm exec box git checkout -- file``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = self._ours(ctx, args)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def _ours(self, ctx: Any, args: list[str]) -> bool:
        """Whether the first ``--`` ends our options."""
        if "--" not in args:
            return False
        ctx.allow_interspersed_args = True
        try:
            values, rest, _ = self.make_parser(ctx).parse_args(args[: args.index("--")])
        except TyperException:
            return True  # a wrong option of ours: the real parse says which
        return not rest and not values.get("argv")
