"""The entry point: errors become messages (or JSON) and exit codes here.

Exit codes: 0 well; 1 an error; 2 wrong usage; 124 a timeout; 125 `run` and `exec` could not be carried out;
128 + n ended by signal n; `run` and `exec` else give the code of what they ran.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from typer.exceptions import TyperException

USAGE = 2


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    # Start-up is all imports, which leave no garbage: looking for it takes a tenth of the time.
    gc.set_threshold(50_000, 20, 20)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    # All is cleaned up: another Ctrl-C in the last milliseconds is not to make a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _flush()
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command; its exit code."""
    from typer.exceptions import Abort, Exit, TyperException

    from aetherium.cli.app import root
    from aetherium.domain.errors import AetheriumError

    try:
        code = root().main(args=list(argv), prog_name="aetherium", standalone_mode=False)
    except Exit as end:
        return end.exit_code
    except Abort:
        return 128 + signal.SIGINT
    except TyperException as wrong:
        return _usage(wrong, argv)
    except AetheriumError as error:
        from aetherium.cli.output import Output

        return Output(as_json=_wants_json(argv)).fail(error)
    return code if isinstance(code, int) else 0


def _usage(wrong: TyperException, argv: Sequence[str]) -> int:
    from aetherium.cli.output import Output
    from aetherium.domain.errors import InvalidInput

    context = getattr(wrong, "ctx", None)
    path = context.command_path if context is not None else "aetherium"
    if type(wrong).__name__ == "NoArgsIsHelpError":
        print(context.get_help() if context is not None else wrong, file=sys.stderr)
        return USAGE
    message = str(getattr(wrong, "format_message", lambda: wrong)()).rstrip(".")
    message += "" if message.endswith("?") else "."
    output = Output(as_json=_wants_json(argv))
    output.fail(InvalidInput(message, hint=f"See: {path} --help"))
    return USAGE


def _wants_json(argv: Sequence[str]) -> bool:
    own = argv[: list(argv).index("--")] if "--" in argv else argv
    return "--json" in own


def _flush() -> None:
    """Flush, or if the reader is gone (``| head``) let the interpreter's own flush at exit not complain."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
