"""The command line: one command, its one-line errors and its exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from genvision import commands
from genvision.errors import ConfigError, GenvisionError, SignalError, is_of_a_peer, is_out_of_memory, one_line
from genvision.interruption import Signals
from genvision.parsers import PARSERS

EXIT_OUT_OF_MEMORY = 7
EXIT_PEER = 8
GO_ON = {"compare": ["the same command goes on"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code.

    0 done, 2 config or usage, 3 data, 4 run or checkpoint, 5 non-finite, 6 disk, 7 out of memory, 8 another
    process, 143 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    if not arguments or arguments[0] not in PARSERS:
        return _usage(arguments)
    described = PARSERS[arguments[0]].__doc__
    parser = _Parser(prog=f"genvision {arguments[0]}", description=described, formatter_class=_Help)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    PARSERS[arguments[0]](parser)
    parsed = parser.parse_intermixed_args(arguments[1:])  # options may stand between key=value words
    parsed.typed = shlex.join(["genvision", *arguments])
    try:
        with Signals().caught():
            commands.check_places(parsed)
            parsed.run(parsed)
        return 0
    except (SignalError, KeyboardInterrupt) as error:  # the latter by a second Control-C
        own = getattr(error, "__notes__", []) if arguments[0] == "train" else []  # a run's: where it lies
        said = [str(error) or "interrupted", *own, *GO_ON.get(arguments[0], [])]
        return _fail("; ".join(said), SignalError.exit_code, parsed.debug)
    except GenvisionError as error:
        return _fail(str(error), error.exit_code, parsed.debug)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            remedy = "lower train.micro_batch_size (the batch stays as it is) or sample.chunk_size"
            return _fail(f"out of memory: {remedy}", EXIT_OUT_OF_MEMORY, parsed.debug)
        if is_of_a_peer(error):
            return _fail("another process ended or hangs: see its error, or status.json", EXIT_PEER, parsed.debug)
        raise
    except BrokenPipeError:  # `genvision ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(one_line(message), file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """Usage errors in the project's own form: one line, exit code 2."""

    def error(self, message: str) -> None:
        print(f"genvision: error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(ConfigError.exit_code)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Every option that has a default says it, and the lines of a description stay as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_one = not any(action.default is none for none in (None, False, argparse.SUPPRESS))
        return f"{action.help}; %(default)s by default" if action.help and has_one else action.help


def _usage(arguments: list[str]) -> int:
    """The list of commands; exit code 0 if it was asked for."""
    lines = [f"  {name:<12} {fill.__doc__}" for name, fill in PARSERS.items()]
    text = "usage: genvision COMMAND ...; genvision COMMAND --help\n" + "\n".join(lines)
    if arguments[:1] in (["--help"], ["-h"]):
        print(text)
        return 0
    if arguments[:1] == ["--version"]:
        from genvision import __version__

        print(f"genvision {__version__}")
        return 0
    wrong = f"no command {arguments[0]!r}" if arguments else "no command given"
    return _fail(f"{wrong}; commands are {', '.join(PARSERS)}", ConfigError.exit_code, debug=False)


if __name__ == "__main__":
    sys.exit(main())
