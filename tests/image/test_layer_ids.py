"""The GUIDs of layers, as they are printed."""

from __future__ import annotations

from wclayer.image.layer_ids import layer_identities


def test_paths_have_the_guid_of_their_last_element() -> None:
    (one,) = layer_identities(["C:\\layers\\4\\"])
    assert (one.name, one.guid) == ("4", "bd9c3ef9-f239-59b5-a27e-15c523b1d149")
    assert one.descriptor == "f93e9cbd39f2b559a27e15c523b1d149" + "00" * 16
    assert one.shared_with == ()


def test_a_name_is_taken_as_it_is() -> None:
    (one,) = layer_identities(["a/4"], are_names=True)
    assert one.name == "a/4"
    assert one.guid != layer_identities(["a/4"])[0].guid


def test_layers_that_share_a_guid_are_named() -> None:
    first, second, third = layer_identities(["/a/1", "/b/1", "/b/2"])
    assert first.shared_with == ("/b/1",)
    assert second.shared_with == ("/a/1",)
    assert third.shared_with == ()
