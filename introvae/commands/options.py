"""Options and exit codes of all commands; imports nothing slow, so that --help is quick."""

import argparse
import dataclasses
import errno
import re
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import FrameType, NoneType
from typing import Any, NoReturn, get_args, get_type_hints

from introvae.config import Schedule, TrainConfig, check_names, load_toml
from introvae.errors import DivergedError, OutOfMemoryError, StoppedError, UserError, is_out_of_memory
from introvae.presets import load_preset, presets, size_defaults

PREDICTIONS = Path("predictions")
DEVICE_HELP = "auto, cpu, cuda, cuda:N or mps"


class Parser(argparse.ArgumentParser):
    """Argument parser with a short usage and one-line errors."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str = "") -> None:
        super().__init__(prog, f"{prog} {usage}", description, epilog)
        self._optionals.title = None  # which would say "options"

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        near = get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        hint = f"did you mean {near[0]}?" if near else f"{self.prog} --help lists the options"
        self.exit(2, f"{self.prog}: {message}; {hint}\n")


class ListPresets(argparse.Action):
    """Print the presets and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        width = max(map(len, presets()))
        for name, about in presets().items():
            print(f"{name:{width}}  {about}")
        parser.exit()


def add_config_options(parser: argparse._ActionsContainer, leave_out: Sequence[str] = ()) -> None:
    """Add a flag for each field of TrainConfig that is not in `leave_out`, --preset, and --config for a TOML file."""
    parser.add_argument("--preset", metavar="NAME", help="named settings; --config and flags override them")
    parser.add_argument("--list-presets", action=ListPresets, nargs=0, help="show the names, a line each, and exit")
    parser.add_argument("--config", type=parse_path, metavar="FILE", help="TOML file of settings; flags override it")
    hints = get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        if field.name in leave_out:
            continue
        text = field.metadata["help"] + ("" if field.default in (None, ()) else f" [{_show(field.default)}]")
        flag = "--" + field.name.replace("_", "-")
        if hints[field.name] is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            choices = field.metadata["choices"] or None
            metavar = None if choices else _metavar(hints[field.name])
            if choices and len(choices) > 3:
                metavar, text = "NAME", f"{', '.join(choices)} [{field.default}]"
            parser.add_argument(flag, type=_parser(hints[field.name]), choices=choices, metavar=metavar, help=text)


def config_from(args: argparse.Namespace, base: Mapping[str, Any] | None = None) -> TrainConfig:
    """Combine defaults, `base` and what the user has given; later ones win.

    Defaults are those of the image size that the others give.
    """
    given = dict(base or {}) | given_settings(args)
    whole = {name: given[name] for name in ("image_size", "steps") if type(given.get(name)) is int}
    return TrainConfig.from_dict(size_defaults(**whole) | given)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of preset, TOML file (plain, or [config] of a params.toml) and flags; later ones win."""
    preset = load_preset(args.preset) if args.preset else {}
    file = _file_settings(args.config) if args.config else {}
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    return preset | file | {name: value for name, value in vars(args).items() if name in names and value is not None}


def _file_settings(path: Path) -> dict[str, Any]:
    """Return the table [config] of a TOML file, or all of a file that has no such table."""
    file = load_toml(path)
    settings = file.pop("config", file)
    if not isinstance(settings, dict):
        raise UserError(f"config is {settings!r} in {path}; it takes a table of settings")
    if settings is not file and (beside := sorted(file.keys() - {"machine"})):
        raise UserError(f"{path} has {', '.join(beside)} beside [config]; all settings belong into that table")
    check_names(settings, f" in {path}")
    return settings


def run_command(name: str, command: Callable[[], int | None], resumes: bool = False) -> int:
    """Run a command, with one line to stderr for whatever ends it; SIGTERM is handled as Ctrl-C.

    Args:
        name: What its lines begin with.
        command: The command.
        resumes: What it does continues, after an interrupt, from a checkpoint.

    Returns:
        The exit code: what `command` returns or 0, 2 for a mistake of the user or a folder or disk that refuses, 1 for
        a failed training, 130 after Ctrl-C.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        return command() or 0
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:
        near = error.object[max(0, error.start - 20) : error.end + 20]
        print(f"{name}: a name is not UTF-8, near {near!r}; rename the file or folder", file=sys.stderr)
        return 2
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some space, then rerun the same command" if full else "check the path and its permissions"
        print(f"{name}: {what}; {remedy}", file=sys.stderr)
        return 2
    except (DivergedError, OutOfMemoryError, StoppedError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        what = "out of memory while reading, drawing or scoring images"
        print(f"{name}: {what}; free some, then rerun the same command", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        then = " to resume from the last checkpoint" if resumes else ""
        print(f"\n{name}: interrupted; rerun the same command{then}", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def say_earlier(folder: Path, written: Collection[str]) -> None:
    """Say how many pictures in a folder of results are of earlier calls, whose images or samples were others."""
    if count := sum(path.name not in written for path in folder.glob("*.png")):
        print(f"{folder} also holds pictures of earlier calls ({count}); remove it to have none", file=sys.stderr)


def parse_path(text: str) -> Path:
    """Parse a path; an empty one, as of a variable that is not set, would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8") from None
    return Path(text)


def parse_schedule(text: str) -> Schedule:
    """Parse a number, or STEP:VALUE points joined by commas, such as 0:0,20000:0,30000:0.25."""
    if ":" not in text:
        return float(text)
    points = [point.split(":") for point in text.split(",")]
    return tuple((int(step), float(value)) for step, value in points)


def _parser(hint: Any) -> Callable[[str], Any]:
    if hint == Schedule:
        return _named(parse_schedule, "number or STEP:VALUE,... schedule")
    if hint == tuple[int, ...]:
        return _named(
            lambda text: tuple(int(item) for item in text.split(",")), "list of whole numbers, such as 16,32,64"
        )
    kind = next((kind for kind in get_args(hint) if kind is not NoneType), hint)
    return _named(kind, {int: "whole number", float: "number", str: "word"}[kind])


def _named(parse: Callable[[str], Any], name: str) -> Callable[[str], Any]:
    """Name a parser: argparse describes a bad value by its parser's __name__."""

    def parser(text: str) -> Any:
        return parse(text)

    parser.__name__ = name
    return parser


def _metavar(hint: Any) -> str:
    if hint == tuple[int, ...]:
        return "N,..."
    if str in get_args(hint):
        return "FOLDER"
    return "X" if hint == Schedule or float in (hint, *get_args(hint)) else "NAME" if hint is str else "N"


def _show(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default}".removesuffix(".0")
