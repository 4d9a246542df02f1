"""The twenty conformance vectors for stores of Windows layers: what each is about, and the tests that hold it."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

VECTORS = {
    "h1 layer chains": [
        "store/driver/test_driver.py::test_a15_h1_chains_of_a_base_a_child_a_grandchild_and_what_stands_on_init",
        "store/driver/test_driver.py::test_a13_the_parent_is_looked_for_before_anything_is_made",
        "store/driver/test_driver.py::test_a9_h1_a_chain_that_is_no_json_is_an_error",
        "store/driver/test_driver.py::test_a8_h1_an_alias_is_found_in_any_case_and_taken_verbatim",
    ],
    "h2 removal": [
        "store/driver/test_driver.py::test_a20_h2_removing_twice_is_fine_and_says_what_was_there",
        "store/driver/test_driver.py::test_a17_h2_a_rename_that_is_refused_is_an_error",
        "store/driver/test_driver.py::test_a19_a20_h2_leftovers_go_when_the_store_is_opened_and_missing_ones_do_not_matter",
    ],
    "h3 mounts": [
        "store/driver/test_driver.py::test_h3_a_layer_stays_mounted_until_the_last_put",
        "store/driver/test_driver.py::test_h3_a_step_that_fails_undoes_those_before_it",
        "store/driver/test_driver.py::test_a22_h3_all_who_mount_at_once_get_the_same_path_and_wait_for_it",
    ],
    "h4 whiteouts": [
        "formats/tar/test_whiteouts.py::test_43_every_form_of_a_name_has_its_meaning",
        "formats/tar/test_whiteouts.py::test_43_what_is_odd_is_told_and_strictly_refused",
        "image/test_windows_image.py::test_d15_a_folder_named_as_a_whiteout_is_one",
        "formats/folder/test_writer.py::test_a_tombstone_of_an_own_entry_is_kept_and_reported",
    ],
    "h5 hard links": [
        "image/test_windows_image.py::test_d09_a_link_leads_to_the_file_where_it_was_found",
        "image/test_windows_image.py::test_d10_links_are_checked_and_found_without_regard_to_case",
        "image/test_view.py::test_a_hard_link_leads_through_links_and_layers_to_its_file",
    ],
    "h6 vendor records": [
        "formats/tar/test_vendor_records.py::test_47_times_of_creation",
        "formats/tar/test_vendor_records.py::test_47_a_descriptor_that_is_no_base64_is_refused",
        "image/test_windows_image.py::test_d02_symbolic_links_and_junctions_become_reparse_points",
    ],
    "h7 alternate streams": ["test_conformance.py", "data/layertar/026-ads", "data/layertar/047-ads-apart"],
    "h8 tombstones.txt": [
        "formats/transport/test_tombstones.py::test_08_lines_end_with_lf_or_crlf_or_the_file",
        "formats/transport/test_tombstones.py::test_09_the_first_line_must_be_exact",
    ],
    "h9 times": ["image/test_windows_image.py::test_d12_folders_have_their_own_times_when_all_is_done"],
    "h10 boot configuration": [
        "store/driver/test_driver.py::test_a30_h10_the_boot_configuration_is_read_as_the_layer_brought_it"
    ],
    "h11 platforms": [
        "oci/test_compatibility.py::test_the_whole_table_in_every_spelling_of_the_host",
        "oci/test_compatibility.py::test_the_highest_build_then_the_highest_revision_then_the_first",
    ],
    "h12 addresses": [
        "oci/registry/test_foreign_blobs.py::test_an_address_that_does_not_work_is_passed_over_and_what_it_sent_is_kept",
        "oci/registry/test_foreign_blobs.py::test_content_that_is_wrong_is_passed_over",
        "oci/registry/test_foreign_blobs.py::test_no_credentials_go_to_an_address",
    ],
    "h13 foreign layers in archives": [
        "oci/test_docker_archive.py::test_a_foreign_layer_is_found_where_the_list_of_the_archive_has_it"
    ],
    "h14 members and frames": [
        "oci/test_compression.py::test_all_members_of_a_gzip_blob_are_read",
        "oci/test_compression.py::test_all_frames_of_a_zstd_blob_are_read",
        "oci/test_pipeline.py::test_finish_reads_what_the_consumer_left",
    ],
    "h15 rebase": [
        "image/test_rebasing.py::test_h15_no_history_at_all_loses_no_layer",
        "image/test_rebasing.py::test_h15_a_short_history_is_fitted_to_the_layers",
        "image/test_rebasing.py::test_h15_whatever_the_histories_tell_there_is_one_line_for_each_layer",
        "image/test_rebasing.py::test_h15_platform_and_features_are_those_of_the_new_base",
        "image/test_rebasing.py::test_h15_every_image_of_an_index_gets_the_base_of_its_build",
        "image/test_rebasing.py::test_h15_a_base_that_was_compressed_anew_is_the_same_base",
    ],
    "h16 builders": ["image/test_producers.py", "image/producers.py"],
    "h17 mount objects": [
        "store/snapshots/test_suite.py::test_b5_b13_h17_mounts_are_printed_as_containerd_prints_them",
        "store/snapshots/test_suite.py::test_b19_b24_h17_mounts_of_cims_are_printed_as_containerd_prints_them",
    ],
    "h18 snapshots": ["store/snapshots/test_suite.py::test_basic"],
    "h19 a folder replaced": [
        "store/snapshots/test_suite.py::test_remove_directory_in_lower_layer_25244_h19",
    ],
    "h20 renames": ["store/snapshots/test_suite.py::test_move_file_from_lower_layer_and_rename_25409_h20"],
}


def test_there_are_all_twenty_vectors() -> None:
    assert [name.split()[0] for name in VECTORS] == [f"h{number}" for number in range(1, 21)]


@pytest.mark.parametrize("vector", VECTORS)
def test_every_vector_has_its_tests(vector: str) -> None:
    for place in VECTORS[vector]:
        path, _, name = place.partition("::")
        assert (TESTS / path).exists(), path
        if name:
            text = (TESTS / path).read_text("utf-8")
            assert f"def {name}(" in text, place
