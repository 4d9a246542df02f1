"""New files get from the descriptor of their folder what MS-DTYP 2.5.3.4 says."""

from __future__ import annotations

import pytest

from wclayer.image.mounting.inheritance import inherited_descriptor
from wclayer.ntfs.sddl import from_sddl, to_sddl
from wclayer.ntfs.security import build, validate

DOCKER_FOLDER = (
    "O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)"
    "(A;CI;DC;;;BU)"
)
DOCKER_FILE = "O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)"


@pytest.mark.parametrize(
    ("folder", "for_file", "for_folder"),
    [
        # An entry for the folder alone goes nowhere; then a token's default counts.
        ("D:(A;;FA;;;BA)", "D:(A;;FA;;;BA)(A;;FA;;;SY)", "D:(A;;FA;;;BA)(A;;FA;;;SY)"),
        # OI: files have it, folders pass it on. CI: the other way round.
        ("D:(A;OI;FR;;;BU)", "D:AI(A;ID;FR;;;BU)", "D:AI(A;OIIOID;FR;;;BU)"),
        ("D:(A;CI;FR;;;BU)", "D:(A;;FA;;;BA)(A;;FA;;;SY)", "D:AI(A;CIID;FR;;;BU)"),
        ("D:(A;OICI;FR;;;BU)", "D:AI(A;ID;FR;;;BU)", "D:AI(A;OICIID;FR;;;BU)"),
        # IO ends where it is inherited, NP is not passed on further.
        ("D:(A;OICIIO;FR;;;BU)", "D:AI(A;ID;FR;;;BU)", "D:AI(A;OICIID;FR;;;BU)"),
        ("D:(A;OICINP;FR;;;BU)", "D:AI(A;ID;FR;;;BU)", "D:AI(A;ID;FR;;;BU)"),
        ("D:(A;OINP;FR;;;BU)", "D:AI(A;ID;FR;;;BU)", "D:(A;;FA;;;BA)(A;;FA;;;SY)"),
        # CREATOR OWNER and GROUP become the owner and the group, and stay what they are for what comes below.
        ("D:(A;OICIIO;FA;;;CO)", "D:AI(A;ID;FA;;;BA)", "D:AI(A;ID;FA;;;BA)(A;OICIIOID;FA;;;CO)"),
        ("D:(A;CINP;FR;;;CG)", "D:(A;;FA;;;BA)(A;;FA;;;SY)", "D:AI(A;ID;FR;;;SY)"),
        # Generic rights are those of files where they count.
        ("D:(A;OICI;GA;;;BU)", "D:AI(A;ID;FA;;;BU)", "D:AI(A;ID;FA;;;BU)(A;OICIIOID;GA;;;BU)"),
        ("D:(A;OI;GRGX;;;BU)", "D:AI(A;ID;0x1200a9;;;BU)", "D:AI(A;OIIOID;GXGR;;;BU)"),
        # Denials, the order, and that a list is protected: only the first two are passed on.
        ("D:PAI(D;OICI;FW;;;BG)(A;OICI;FA;;;SY)", "D:AI(D;ID;FW;;;BG)(A;ID;FA;;;SY)",
         "D:AI(D;OICIID;FW;;;BG)(A;OICIID;FA;;;SY)"),
        # Audits and labels go the same way.
        ("D:(A;OI;FA;;;SY)S:(AU;OICISAFA;FA;;;WD)(ML;OI;NW;;;HI)",
         "D:AI(A;ID;FA;;;SY)S:AI(AU;IDSAFA;FA;;;WD)(ML;ID;NW;;;HI)",
         "D:AI(A;OIIOID;FA;;;SY)S:AI(AU;OICIIDSAFA;FA;;;WD)(ML;OIIOID;NW;;;HI)"),
        # An entry for objects of one kind is for none of these.
        ("D:(OA;OICI;CC;;bf967aba-0de6-11d0-a285-00aa003049e2;BU)(A;OICI;FA;;;SY)", "D:AI(A;ID;FA;;;SY)",
         "D:AI(A;OICIID;FA;;;SY)"),
    ],
)  # fmt: skip
def test_entries_are_inherited(folder: str, for_file: str, for_folder: str) -> None:
    above = build(from_sddl(f"O:SYG:SY{folder}"))
    for is_folder, expected in ((False, for_file), (True, for_folder)):
        made = inherited_descriptor(above, is_folder=is_folder)
        validate(made)
        assert to_sddl(made) == f"O:BAG:SY{expected}"


@pytest.mark.parametrize("folder", [None, b"", b"damaged"])
def test_where_nothing_can_be_inherited_it_is_what_docker_gives(folder: bytes | None) -> None:
    assert inherited_descriptor(folder, is_folder=True) == build(from_sddl(DOCKER_FOLDER))
    assert inherited_descriptor(folder, is_folder=False) == build(from_sddl(DOCKER_FILE))


def test_a_child_of_a_child_inherits_the_same() -> None:
    first = inherited_descriptor(build(from_sddl(DOCKER_FOLDER)), is_folder=True)
    second = inherited_descriptor(first, is_folder=True)
    assert to_sddl(first) == (
        "O:BAG:SYD:AI(A;OICIID;FA;;;BA)(A;OICIID;FA;;;SY)(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)(A;OICIID;0x1200a9;;;BU)"
        "(A;CIID;LC;;;BU)(A;CIID;DC;;;BU)"
    )
    assert second == first
