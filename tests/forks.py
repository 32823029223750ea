"""Processes that share the slow imports of this one."""

import os
import traceback
import warnings
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """The id of a process that does some work and ends with the number that it gives, 0 for None, 1 if it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of libraries, which the child does not use
        child = os.fork()
    if not child:
        code = 1
        try:
            result = work()
            code = result if isinstance(result, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """The exit code of the process, which is waited for; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
