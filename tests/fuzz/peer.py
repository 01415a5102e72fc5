"""Results of another package for files whose paths come on standard input; run by ``.venv-oracle`` with nd2 0.12.0.

This file runs alone, in an environment without this package: it imports nothing else of the tests.
"""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import sys
import warnings

FRAMES = 6
SECONDS = 5
_MEMORY = 4 << 30


def describe(path: str) -> dict[str, object]:
    """Return type, number of frames, and a digest of each of the first frames; the error where there is one."""
    import nd2

    try:
        with nd2.ND2File(path) as file:
            count = int(file.attributes.sequenceCount)
            frames = []
            for index in range(min(count, FRAMES)):
                try:
                    frame = file.read_frame(index)
                    digest = hashlib.sha1(frame.tobytes()).hexdigest()[:16]
                    frames.append(f"{frame.dtype.str} {list(frame.shape)} {digest}")
                except Exception as error:
                    frames.append(f"{type(error).__name__}: {error}"[:200])
            return {"count": count, "frames": frames, "sizes": dict(file.sizes)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def main() -> None:
    """Answer each path by a line of JSON."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    def stop(*_: object) -> None:
        raise TimeoutError("too slow")

    signal.signal(signal.SIGALRM, stop)
    for line in sys.stdin:
        signal.alarm(SECONDS)
        answer = describe(line.rstrip("\n"))
        signal.alarm(0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
