"""The command line: one short function per command. How a command ends is decided here and nowhere else.

Exit codes: 0 success, 1 a bug (with a traceback), 2 an error that the user can fix, 130 interrupted. Each gives
one message; a second Ctrl-C ends the process at once.

The commands themselves are in app.py, which is imported by `main`: this module imports hardly anything, so that Ctrl-C
has its answer while the libraries are still being imported.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

TYPE_CHECKING = False  # see ttft/__init__.py

if TYPE_CHECKING:
    from typing import Any

    from ttft.errors import TtftError

INTERRUPTED = 130
RESUME = "interrupted; all files written are valid: run the same command again to resume"
OUTPUT_FAILS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO}


def main() -> None:
    """Entry point: run the command of sys.argv, tell how it ended if not well, and exit."""
    _answer_interrupts()
    try:
        code = _ended()
    except KeyboardInterrupt:
        _tell(RESUME)
        exec("")  # clears Python's note of an interruption within eval(), by which `python -m` would die of the signal
        code = INTERRUPTED
    finally:
        _flush()
    sys.exit(code)


def _ended() -> int:
    """Run the command; its exit code. Exceptions that are bugs get through, and so does KeyboardInterrupt."""
    from ttft.errors import TtftError

    try:
        _check_streams()
        _check_arguments()
        from ttft.cli.app import run

        code = run()
        sys.stdout.flush()
        return code
    except TtftError as error:
        return _fail(error)
    except BrokenPipeError:
        return 0  # the reader of our output has gone (| head): not an error
    except MemoryError as error:
        return _fail(TtftError(f"not enough memory: {error}", "ask for less, such as a smaller n, k or batch_size"))
    except OSError as error:
        if (explained := _explained(error)) is None:
            raise
        return _fail(explained)


# ---- interruptions -------------------------------------------------------------------------------------------------


def _answer_interrupts() -> None:
    """Ctrl-C raises KeyboardInterrupt once; the next one ends the process, whatever it is doing."""

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, again)
        raise KeyboardInterrupt

    def again(*_: Any) -> None:
        os._exit(INTERRUPTED)

    def dropped(what: Any) -> None:
        """For an exception where Python has to drop it, such as in a destructor or while it holds an import's lock."""
        if what.exc_type is KeyboardInterrupt:
            _tell(RESUME)
            os._exit(INTERRUPTED)
        sys.__unraisablehook__(what)

    # not where a shell has started us in the background with SIGINT ignored; ValueError: not in the main thread
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
        try:
            signal.signal(signal.SIGINT, first)
        except ValueError:
            return
        if sys.unraisablehook is sys.__unraisablehook__:
            sys.unraisablehook = dropped


# ---- what is checked before -----------------------------------------------------------------------------------------


def _check_streams() -> None:
    """Raises TtftError if standard output is closed. A closed standard error is replaced: messages are lost then."""
    from ttft.errors import TtftError

    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes this number, which no file of ours should get
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the end
    if sys.stdout is None:
        raise TtftError("standard output is closed", "send it to a file or a pipe, or to /dev/null")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that are not UTF-8


def _check_arguments() -> None:
    """Raises TtftError for an argument that is not UTF-8."""
    from ttft.errors import TtftError

    for number, argument in enumerate(sys.argv[1:], 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = repr(os.fsencode(argument)[:80])
            raise TtftError(
                f"argument {number} is not UTF-8: {shown}",
                "convert the text, for example with iconv, or rename the file",
            ) from None


# ---- what is said after ---------------------------------------------------------------------------------------------


def _explained(error: OSError) -> TtftError | None:
    """The message for an error of the operating system that no other part of ttft has explained; None for a bug."""
    from ttft.errors import TtftError

    if error.filename is not None:
        names = " -> ".join(os.fsdecode(n) for n in (error.filename, error.filename2) if n is not None)
        return TtftError(f"{names}: {error.strerror}", "check that the path exists, what it is, and its permissions")
    if error.errno in OUTPUT_FAILS:
        return TtftError(f"cannot write the output: {error.strerror}", "free some space, or send it elsewhere")
    return None


def _fail(error: TtftError) -> int:
    _tell(f"ttft: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""))
    return 2


def _tell(text: str) -> None:
    """Print to standard error, if that is possible: there is nowhere else to say that it is not."""
    from contextlib import suppress

    from ttft.visible import visible

    with suppress(OSError, ValueError):
        print(visible(text), file=sys.stderr, flush=True)


def _flush() -> None:
    """Write out both streams; if that fails, drop the rest, so that Python does not complain when it exits."""
    from contextlib import suppress

    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
