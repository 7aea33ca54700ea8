"""The demo: a scanner sends cases, a reader draws on a few slices, the node answers and learns, and a table tells how well.

Everything goes the way it would in a hospital: images by C-STORE, drawings as DICOM objects into the archive, answers read back
from the archive. The learner's API is asked for what is not in the archive: when it is done, and which slices it wants.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from dicom_io.errors import NotInPacs
from dicom_io.pacs.part10 import read_whole
from dicom_io.pacs.port import SeriesStatus
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries
from learner.demo.cases import DemoCase, DemoData, shipped_data
from learner.demo.client import OVER, RoundStatus
from learner.demo.errors import DemoError
from learner.demo.modality import send_series
from learner.demo.node import USER, DemoNode
from learner.demo.own_data import own_data
from learner.demo.reader import Choice, Manner, Reader, first_slices, next_slices, occupied
from learner.demo.report import DemoOptions, DemoReport, RoundRow, write_json, write_plot
from learner.demo.table import Screen
from learner.domain.case import RoundState
from learner.domain.viewer_link import OWN_VIEWER, viewer_link
from learner.propagation import make_propagator

LabelArray = npt.NDArray[np.uint8]
_Found = TypeVar("_Found")
_EDITED_CASE, _CONTOUR_CASE = 2, 3
_POLL_S = 0.1


def run_demo(options: DemoOptions, console: Console | None = None) -> DemoReport:
    """Plays the demo; call it from the main thread.

    Args:
        options: how.
        console: where everything is shown; standard output where left out.

    Returns:
        What came of it, once everything is played and, without ``once``, the user has pressed Ctrl-C.

    Raises:
        DemoError: it cannot go on; one line that says why and what to do.
        ApprenticeError: Orthanc is not installed or does not start.
    """
    console = console or Console()
    run = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")
    read = shipped_data if options.data is None else lambda _cache, *rest: own_data(options.data, *rest)
    data = read(options.cache, run, console, options.cases)
    with DemoNode(options, data) as node:
        rows: list[RoundRow] = []
        with Screen(console, data.title) as screen:
            for number, case in enumerate(data.cases, start=1):
                rows += _CasePlay(node, data, options, screen, case, number).play(last=number == len(data.cases))
        report = DemoReport(tuple(rows), node.log_errors())
        _publish(report, options, console)
        _tell_addresses(node, data, console)
        if not options.once:
            _stay(console)
    return report


def play_summary(report: DemoReport) -> str:
    """One line on what came of it, for the end of the demo."""
    last = {row.case: row for row in report.rows}
    better = sum(row.answer_dice > row.propagation_dice for row in last.values())
    return f"answers better than propagation alone from the same slices in {better} of {len(last)} cases (last round)"


@dataclass(eq=False)
class _CasePlay:
    """One case from the scanner to the last answer."""

    node: DemoNode
    data: DemoData
    options: DemoOptions
    screen: Screen
    case: DemoCase
    number: int
    planes: dict[int, PlaneKind] = field(default_factory=dict)

    def play(self, *, last: bool) -> list[RoundRow]:
        """Plays all rounds and waits until the node has learned of them; after the last case nobody waits for that."""
        source = self._send()
        reader = Reader(source, self.case.truth_DHW, self.data.segments, jitter_mm=self.options.jitter_mm, seed=self.number)
        before, status = self._undrawn(source)
        rows = []
        for number in range(1, self.options.rounds + 1):
            choice = self._choose(number, status, source)
            if not choice.drawn:
                break
            status, row = self._round(number, reader, choice, status, before)
            self.screen.add(row)
            rows.append(row)
            more = number < self.options.rounds
            if more or not last:
                self._let_learn(status, self.options.drawing_s * self.options.slices if more else self.options.patience_s)
        return rows

    def _send(self) -> ImageSeries:
        """Sends the series, waits until the archive takes it for complete, and reads it back."""
        files = list(self.case.files)
        with self.screen.busy(f"sending {self.case.name} ({len(files)} slices)", len(files)) as sent:
            send_series(files, self.node.orthanc.dicom_address, self.node.orthanc.aet, sent)
        uid = str(read_whole(files[0]).SeriesInstanceUID)
        series = self._await(lambda: self._stable(uid), f"the archive takes {self.case.name} for complete", 60.0)
        source = read_series(self.node.archive.fetch_series(series))
        if source.volume.geometry.shape != self.case.truth_DHW.shape:
            raise DemoError(f"the archive holds another series than {self.case.name}; start without --keep")
        return source

    def _stable(self, uid: str) -> SeriesStatus | None:
        try:
            series = self.node.archive.find_series(uid)
        except NotInPacs:
            return None
        return series if series.is_stable else None

    def _undrawn(self, source: ImageSeries) -> tuple[float | None, RoundStatus | None]:
        """Dice of the network alone, and its round; None before a model serves."""
        if not self.node.client.serving(self.data.task_id):
            return None, None
        uid = source.volume.series.series_instance_uid
        status = self._await(
            lambda: self._over(self.node.client.undrawn_round(uid)), "the network's prediction", self.options.patience_s
        )
        if status.state is not RoundState.ANSWERED:
            return None, None
        return _mean(self._dice(self._prediction(status, source)[0])), status

    def _choose(self, number: int, status: RoundStatus | None, source: ImageSeries) -> Choice:
        if number == 1 or status is None:
            return first_slices(self.case.truth_DHW, self.options.slices)
        truth_DHW = self.case.truth_DHW
        places = {uid: index for index, uid in enumerate(source.volume.series.sop_instance_uids)}
        suggested = [places[uid] for uid in status.guidance if uid in places]
        worth = occupied(truth_DHW)
        if self._manner(number) is Manner.EDIT:
            worth = occupied(self._prediction(status, source)[0] != truth_DHW)
        return next_slices(worth, suggested, tuple(self.planes), self.options.slices)

    def _manner(self, number: int) -> Manner:
        """In one case the prediction is edited, in another contours are stored; everywhere else a SEG."""
        if self.number == _EDITED_CASE and number > 1:
            return Manner.EDIT
        return Manner.SR if self.number == _CONTOUR_CASE else Manner.SEG

    def _round(
        self, number: int, reader: Reader, choice: Choice, status: RoundStatus | None, before: float | None
    ) -> tuple[RoundStatus, RoundRow]:
        manner = self._manner(number)
        file = self._draw(manner, reader, choice, status)
        began = time.monotonic()
        with self.screen.busy(f"{self.case.name}, round {number}: storing {len(choice.drawn)} slices"):
            self.node.archive.store(file)
        uid = inspect(file).series_instance_uid
        answered = self._await(
            lambda: self._over(self.node.client.round_of(uid)), f"the answer to round {number}", self.options.patience_s
        )
        seconds = time.monotonic() - began
        if answered.state is not RoundState.ANSWERED:
            raise DemoError(f"{self.case.name}, round {number} is {answered.state}: {answered.reason}")
        labels_DHW, _ = self._prediction(answered, reader.source)
        self.planes |= {index: PlaneKind.DRAWN if reader.truth_DHW[index].any() else PlaneKind.ABSENT for index in choice.drawn}
        return answered, self._row(number, manner, reader, choice, before, self._dice(labels_DHW), seconds)

    def _draw(self, manner: Manner, reader: Reader, choice: Choice, status: RoundStatus | None) -> bytes:
        now = datetime.now(UTC)
        if manner is Manner.EDIT and status is not None:
            return reader.edit(self._prediction(status, reader.source)[1], choice.drawn, now)
        return reader.contour(choice.drawn, now) if manner is Manner.SR else reader.draw(choice.drawn, now)

    def _prediction(self, status: RoundStatus, source: ImageSeries) -> tuple[LabelArray, bytes]:
        """The prediction of a round as it stands in the archive: its labels, and the object."""
        series = self.node.archive.find_series(status.prediction_series)
        (file,) = self.node.archive.fetch_series(series)
        labels_DHW = np.zeros(source.volume.geometry.shape, dtype=np.uint8)
        for segment in read_annotation(file, source).segments:
            labels_DHW[segment.mask_DHW] = segment.number
        return labels_DHW, file

    def _row(
        self,
        number: int,
        manner: Manner,
        reader: Reader,
        choice: Choice,
        before: float | None,
        dice: dict[str, float],
        seconds: float,
    ) -> RoundRow:
        drawn, slices = tuple(sorted(self.planes)), self.case.truth_DHW.shape[0]
        occupied = int(self.case.truth_DHW.any(axis=(1, 2)).sum())
        with self.screen.busy("propagation alone, for comparison"):
            alone = _mean(self._dice(_propagated(reader, self.planes)))
        return RoundRow(
            case=self.case.name,
            subject=self.case.subject,
            remark=self.case.remark,
            round=number,
            manner=str(manner),
            drawn=drawn,
            left=choice.left,
            drawn_slices=len(drawn),
            series_slices=slices,
            object_slices=occupied,
            drawn_share=len(drawn) / slices,
            drawn_object_share=sum(kind is PlaneKind.DRAWN for kind in self.planes.values()) / occupied,
            answer_dice=_mean(dice),
            answer_dice_per_label=dice,
            network_dice_before=before,
            propagation_dice=alone,
            seconds=round(seconds, 3),
        )

    def _dice(self, labels_DHW: LabelArray) -> dict[str, float]:
        """Dice of each label that the truth has (Dice 1945; 2 |A and B| / (|A| + |B|))."""
        truth = self.case.truth_DHW
        values = {}
        for segment in self.data.segments:
            is_true, is_found = truth == segment.number, labels_DHW == segment.number
            if is_true.any():
                values[str(segment.number)] = float(2 * (is_true & is_found).sum() / (is_true.sum() + is_found.sum()))
        return values

    def _let_learn(self, status: RoundStatus, patience_s: float) -> None:
        """Waits until the node has learned of the round, as long as the reader takes anyway."""
        current = status.round_id

        def learned() -> bool | None:
            found = self.node.client.round_by_id(current)
            return True if found is None or found.learned else None

        ends = time.monotonic() + patience_s
        with self.screen.busy(f"{self.case.name}: the reader draws, the node learns"):
            while learned() is None and time.monotonic() < ends:
                self.node.check_alive()
                time.sleep(_POLL_S)

    def _over(self, status: RoundStatus | None) -> RoundStatus | None:
        if status is not None and status.given_up:
            raise DemoError(f"{self.case.name}: the node gave a round up ({status.given_up}); see {self.node.learner_log}")
        return status if status is not None and status.state in OVER else None

    def _await(self, condition: Callable[[], _Found | None], what: str, patience_s: float) -> _Found:
        """What ``condition`` finds; asks again and again.

        Raises:
            DemoError: a process has ended, or nothing was found in time.
        """
        ends = time.monotonic() + patience_s
        with self.screen.busy(f"waiting for {what}"):
            while (found := condition()) is None:
                self.node.check_alive()
                if time.monotonic() > ends:
                    raise DemoError(f"{what} did not come within {patience_s:.0f} s; see {self.node.learner_log}")
                time.sleep(_POLL_S)
        return found


def _propagated(reader: Reader, planes: dict[int, PlaneKind]) -> LabelArray:
    """What propagation alone makes of the slices that the reader drew."""
    labels_DHW = reader.drawn_labels(sorted(planes))
    known_LDHW = np.zeros((len(reader.segments), *labels_DHW.shape), dtype=np.bool_)
    known_LDHW[:, sorted(planes)] = True
    listed = tuple(Plane(0, index, kind) for index, kind in sorted(planes.items()))
    volume = reader.source.volume
    annotation = SparseAnnotation(labels_DHW, known_LDHW, listed)
    return make_propagator().propagate(volume.voxels_DHW, volume.geometry.spacing_DHW, annotation).labels_DHW


def _mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values())))


def _publish(report: DemoReport, options: DemoOptions, console: Console) -> None:
    plot = options.plot or options.folder / "plot.png"
    write_plot(report, plot)
    console.print(f"plot: {plot}", soft_wrap=True)
    if options.json is not None:
        write_json(report, options, options.json)
        console.print(f"figures: {options.json}", soft_wrap=True)
    if report.rows:
        console.print(play_summary(report), soft_wrap=True)
    _tell_errors(report.log_errors, console)


def _tell_errors(errors: Sequence[str], console: Console) -> None:
    if not errors:
        console.print("no error in any log", soft_wrap=True)
        return
    console.print(f"[red]{len(errors)} lines of error in the logs[/red], the first:", soft_wrap=True)
    console.print(errors[0], soft_wrap=True, markup=False)


def _tell_addresses(node: DemoNode, data: DemoData, console: Console) -> None:
    host, port = node.orthanc.dicom_address
    study = str(read_whole(data.cases[-1].files[0]).StudyInstanceUID)
    lines = (
        f"Orthanc:  {node.orthanc.url}/app/explorer.html (user {USER}, password {node.password})",
        f"learner:  {node.learner_url}/",
        *(
            [f"viewer:   {node.learner_url}/ohif/", f"draw on:  {node.learner_url}{viewer_link(OWN_VIEWER, study)}"]
            if node.has_viewer
            else []
        ),
        f"DICOM:    {node.orthanc.aet} at {host}:{port}",
        f"logs:     {node.orthanc.log_path} and {node.learner_log}",
    )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _stay(console: Console) -> None:
    """Returns at Ctrl-C."""
    console.print("The node runs; Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("stopping")
