"""The frame of every `python -m stages.<stage>`: what the user did wrong is one line, never a traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable

from stages.settings import InputError

# exit codes: 0 done, 1 the work failed, 2 wrong usage or settings, 130 interrupted
FAILED, USAGE, INTERRUPTED = 1, 2, 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def command(main: Callable[[], None]) -> None:
    """Run `main`, print known failures as one line on stderr and exit with their code."""
    quiet_libraries()
    try:
        main()
    except InputError as error:
        fail(str(error), USAGE)
    except MemoryError as error:
        fail(f"out of memory: {str(error) or 'the machine has no more to give'}; use a smaller batch_size or dataset", FAILED)
    except KeyboardInterrupt:
        fail("interrupted; run again to go on from the last checkpoint", INTERRUPTED)
    except Exception as error:
        if disk_is_full(error):
            where = getattr(error, "filename", None) or "output"
            fail(f"disk full while writing {where}; free some space and run again, finished work is kept", FAILED)
        if not isinstance(error, RuntimeError):
            raise
        first = str(error).splitlines()[0] if str(error) else ""
        if "out of memory" in first or "can't allocate memory" in first:
            fail(f"out of memory: {first}; use a smaller batch_size", FAILED)
        if first.startswith("CUDA error"):
            fail(f"the GPU failed: {first}; run again to go on from the last checkpoint, or set train.device: cpu", FAILED)
        raise


def disk_is_full(error: BaseException) -> bool:
    """A write that failed for want of space: by its number, or by the words of libraries that give none (polars, numpy)."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return bool(re.search(r"os error (28|27|122)\b|No space left on device|\d+ requested and \d+ written", str(error)))


def fail(line: str, code: int) -> None:
    print("error: " + " ".join(line.split()), file=sys.stderr, flush=True)
    sys.exit(code)


def quiet_libraries() -> None:
    """No telemetry from any library, whoever started this process."""
    for name, value in {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false",
                        "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}.items():
        os.environ.setdefault(name, value)
