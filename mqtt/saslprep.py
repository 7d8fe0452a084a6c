"""SASLprep (RFC 4013): the one form of names and passwords that look the same.

The tables are those of RFC 3454, which Python has in ``stringprep``; they know Unicode 3.2. As RFC
5802 (2.2) asks for, texts are "stored strings": what that Unicode did not know is refused.
"""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_a1,  # unassigned
    stringprep.in_table_c12,  # spaces beyond ASCII's
    stringprep.in_table_c21_c22,  # controls
    stringprep.in_table_c3,  # private use
    stringprep.in_table_c4,  # no characters
    stringprep.in_table_c5,  # surrogates
    stringprep.in_table_c6,  # not for plain text
    stringprep.in_table_c7,  # not for canonical representation
    stringprep.in_table_c8,  # change how text is shown
    stringprep.in_table_c9,  # tags
)


def saslprep(text: str) -> str:
    """Returns the prepared text; for printable ASCII it is the text itself.

    Raises:
      ValueError: the text holds a character that is not allowed, or mixes directions. The text is
        not repeated, as it may be a password.
    """
    if text.isascii() and text.isprintable():
        return text
    # Section 2.1, then 2.2.
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    # Section 2.3.
    if any(prohibits(char) for char in prepared for prohibits in _PROHIBITED):
        raise ValueError("the text has a character that SASLprep (RFC 4013) does not allow")
    # Section 2.4: RFC 3454, section 6.
    if any(map(stringprep.in_table_d1, prepared)):
        at_both_ends = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if any(map(stringprep.in_table_d2, prepared)) or not at_both_ends:
            raise ValueError("the text mixes directions as SASLprep (RFC 4013) does not allow")
    return prepared
