"""Privileges are held by the thread for the time of a call, and given back whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hcs.fake_library import library, text
from wclayer.hcs.failures import HcsError
from wclayer.hcs.privileges import EXPORT_PRIVILEGES, IMPORT_PRIVILEGES, TokenCalls, privileges


class Tokens:
    """The calls in their order; ``fails`` names the one that fails, ``held`` is what the process may have."""

    def __init__(self, fails: str = "", last_error: int = 0) -> None:
        self.fails = fails
        self.error = last_error
        self.log: list[Any] = []
        self.names: list[str | None] = []

    def calls(self) -> TokenCalls:
        return TokenCalls(
            library(
                ImpersonateSelf=lambda level: self.step("impersonate", level.value),
                OpenThreadToken=self.open_token,
                LookupPrivilegeValueW=self.look_up,
                AdjustTokenPrivileges=self.adjust,
                RevertToSelf=lambda: self.step("revert"),
            ),
            library(GetCurrentThread=lambda: 7, CloseHandle=lambda handle: self.step("close", handle.value)),
            lambda: self.error,
        )

    def step(self, name: str, *details: Any) -> int:
        self.log.append((name, *details))
        return int(self.fails != name)

    def open_token(self, thread: Any, access: Any, as_self: Any, token: Any) -> int:
        token._obj.value = 9
        return self.step("open", thread.value, access.value, as_self.value)

    def look_up(self, system: Any, name: Any, luid: Any) -> int:
        assert system.value is None
        self.names.append(text(name))
        luid._obj.low = len(self.names)
        return self.step("look up")

    def adjust(self, token: Any, disable_all: Any, state: Any, *_rest: Any) -> int:
        return self.step("adjust", token.value, disable_all.value, bytes(state._obj)[:-1].hex())


def test_the_thread_gets_a_token_of_its_own_and_gives_it_back() -> None:
    tokens = Tokens()
    with privileges(IMPORT_PRIVILEGES, tokens.calls()):
        tokens.log.append("work")
    assert tokens.names == ["SeBackupPrivilege", "SeRestorePrivilege", "SeSecurityPrivilege"]
    state = "03000000" + "".join(f"{number:02x}0000000000000002000000" for number in (1, 2, 3))
    assert [entry for entry in tokens.log if entry != ("look up",)] == [
        ("impersonate", 2),
        ("open", 7, 0x28, 0),
        ("adjust", 9, 0, state),
        ("close", 9),
        "work",
        ("revert",),
    ]


@pytest.mark.parametrize("fails", ["open", "look up", "adjust"])
def test_every_failure_gives_the_token_back(fails: str) -> None:
    tokens = Tokens(fails, 5)
    with pytest.raises(HcsError, match="0x5"), privileges(EXPORT_PRIVILEGES, tokens.calls()):
        pytest.fail("no privileges, no work")
    assert tokens.log[-1] == ("revert",)
    assert (("close", 9) in tokens.log) == (fails != "open")


def test_without_a_token_of_its_own_there_is_nothing_to_give_back() -> None:
    tokens = Tokens("impersonate", 5)
    with pytest.raises(HcsError), privileges(EXPORT_PRIVILEGES, tokens.calls()):
        pytest.fail("no privileges, no work")
    assert tokens.log == [("impersonate", 2)]


def test_a_privilege_that_the_process_has_not_got_is_an_error() -> None:
    tokens = Tokens(last_error=1300)
    with (
        pytest.raises(HcsError, match=r"0x522\) \(SeBackupPrivilege\)"),
        privileges(EXPORT_PRIVILEGES, tokens.calls()),
    ):
        pytest.fail("no privileges, no work")
    assert tokens.log[-1] == ("revert",)
