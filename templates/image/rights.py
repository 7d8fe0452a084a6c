"""The one right of root that the image's launcher and boot program keep, as attributes of files.

Dataflow mounts its folders for logs and for staged files as root's, and the programs that write
there are Google's launcher and Beam's boot. With CAP_DAC_OVERRIDE on these two files they may, when
an ordinary user starts them; the Python that they start gets nothing of it. Where an engine takes
that right from the container (``--cap-drop``), the kernel refuses to start the two at all.

man 7 capabilities, "File capabilities"; the layout is vfs_cap_data of linux/capability.h.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

_ATTRIBUTE = "security.capability"
_REVISION_2_EFFECTIVE = 0x02000000 | 0x000001
_CAP_DAC_OVERRIDE = 1


def let_write_anywhere(program: Path) -> None:
    """Gives a program's file CAP_DAC_OVERRIDE, permitted and effective. Needs root."""
    permitted = 1 << _CAP_DAC_OVERRIDE
    os.setxattr(program, _ATTRIBUTE, struct.pack("<5I", _REVISION_2_EFFECTIVE, permitted, 0, 0, 0))


def main(argv: Sequence[str] | None = None) -> int:
    """Gives it to every program that is named; the first that can't have it ends the build."""
    for program in sys.argv[1:] if argv is None else argv:
        let_write_anywhere(Path(program))
    return 0


if __name__ == "__main__":
    sys.exit(main())
