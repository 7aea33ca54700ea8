"""Addresses of a study in a viewer."""

from __future__ import annotations

import pytest

from learner.domain.viewer_link import OWN_VIEWER, viewer_link


def test_all_that_is_known_stands_in_the_address() -> None:
    assert viewer_link(OWN_VIEWER, "1.2", series="1.3", instance="1.4", segmentation="1.5") == (
        "/ohif/segmentation?StudyInstanceUIDs=1.2&hangingProtocolId=apprentice"
        "&initialSopInstanceUID=1.4&initialSeriesInstanceUID=1.5"
    )


def test_a_parameter_of_which_nothing_is_known_is_left_out() -> None:
    assert viewer_link(OWN_VIEWER, "1.2", instance="1.4").endswith("&initialSopInstanceUID=1.4")
    assert viewer_link("https://viewer/{study}?series={series}", "1.2") == "https://viewer/1.2?"


def test_an_address_that_names_the_study_alone_is_as_good_as_before() -> None:
    assert (
        viewer_link("http://viewer/?StudyInstanceUIDs={study}", "1.2", instance="1.4") == "http://viewer/?StudyInstanceUIDs=1.2"
    )


@pytest.mark.parametrize(("template", "study"), [("", "1.2"), (OWN_VIEWER, ""), ("javascript:alert('{study}')", "1.2")])
def test_no_address(template: str, study: str) -> None:
    assert viewer_link(template, study) == ""


def test_values_cannot_leave_their_place() -> None:
    assert viewer_link(OWN_VIEWER, "1.2&x=1#").startswith("/ohif/segmentation?StudyInstanceUIDs=1.2%26x%3D1%23&")
