"""What the writer's trees say is what the parsers read: loops, channels, attributes, the chunk map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nd2._core.chunks import experiment as parse_experiment
from nd2._core.chunks import picture_metadata as parse_metadata
from nd2._core.format import chunks, clx_lite, clx_xml
from nd2._core.write import picture, trees
from nd2.structures import (
    Attributes,
    Channel,
    ChannelMeta,
    Color,
    CustomLoop,
    ExpLoop,
    LoopIndices,
    Microscope,
    ModalityFlags,
    NETimeLoop,
    NETimeLoopParams,
    Period,
    PeriodDiff,
    Position,
    StagePosition,
    TimeLoop,
    TimeLoopParams,
    Volume,
    XYPosLoop,
    XYPosLoopParams,
    ZStackLoop,
    ZStackLoopParams,
)

numbers = st.floats(-1e6, 1e6)
bytes_ = st.integers(0, 255)
positive = st.floats(1e-3, 1e3)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
diffs = st.builds(PeriodDiff, numbers, numbers, numbers)
times = st.builds(TimeLoopParams, numbers, numbers, numbers, diffs)
periods = st.builds(Period, numbers, numbers, numbers, diffs, count=st.integers(1, 5))
points = st.builds(
    Position,
    st.builds(StagePosition, numbers, numbers, numbers),
    st.none() | st.floats(0, 1e5),
    st.none() | names.filter(bool),
)


@st.composite
def loops(draw: st.DrawFn) -> list[ExpLoop]:
    made: list[ExpLoop] = []
    for nesting, kind in enumerate(draw(st.lists(st.sampled_from("TNPZU"), max_size=5))):
        count = draw(st.integers(1, 30))
        if kind == "T":
            made.append(TimeLoop(count, nesting, draw(times)))
        elif kind == "N":
            phases = draw(st.lists(periods, min_size=1, max_size=4))
            total = sum(phase.count for phase in phases)
            made.append(NETimeLoop(total, nesting, NETimeLoopParams(phases)))
        elif kind == "P":
            listed = draw(st.lists(points, min_size=1, max_size=5))
            sets_z = draw(st.booleans())
            if not sets_z:
                listed = [
                    Position(p.stagePositionUm._replace(z=0.0), p.pfsOffset, p.name) for p in listed
                ]
            made.append(XYPosLoop(len(listed), nesting, XYPosLoopParams(sets_z, listed)))
        elif kind == "Z":
            step = draw(positive | positive.map(lambda x: -x) | st.just(0.0))
            home = draw(st.integers(0, count - 1)) if step else 0
            device = draw(st.none() | names)
            made.append(
                ZStackLoop(
                    count, nesting, ZStackLoopParams(home, step, draw(st.booleans()), device)
                )
            )
        else:
            made.append(CustomLoop(count, nesting))
    return made


@pytest.mark.parametrize("version", [(3, 0), (2, 1)])
@settings(max_examples=150)
@given(made=loops())
def test_loops(version: tuple[int, int], made: list[ExpLoop]) -> None:
    tree = trees.experiment(made)
    if tree is None:
        assert made == []
        return
    name, data = trees.chunk(b"ImageMetadata", b"", tree, version)
    assert name == (b"ImageMetadataLV!" if version == (3, 0) else b"ImageMetadata!")
    decoded = clx_lite.decode(data) if version == (3, 0) else clx_xml.decode(data)
    assert parse_experiment.parse(decoded) == made


def matrix(pixel: float, rows: list[float], size: tuple[int, int]) -> tuple[float, ...]:
    """The matrix from pixels to the stage as the parser computes it."""
    x1, x2, y1, y2 = (pixel * value for value in rows)
    width, height = size
    return (
        x1,
        x2,
        -(x1 * width + x2 * height) / 2,
        y1,
        y2,
        -(y1 * width + y2 * height) / 2,
    )


@st.composite
def channels(draw: st.DrawFn) -> list[Channel]:
    pixel = draw(positive)
    calibrated = draw(st.booleans())
    shared: dict[str, Any] = {
        "objectiveMagnification": draw(st.none() | positive),
        "objectiveName": draw(st.none() | st.sampled_from(["Plan Apo", "λ"])),
        "objectiveNumericalAperture": draw(st.none() | positive),
        "zoomMagnification": draw(st.none() | positive),
        "immersionRefractiveIndex": draw(st.none() | positive),
        "projectiveMagnification": draw(st.none() | positive),
    }
    rotation = [draw(st.sampled_from([1.0, -1.0, 0.0, 0.6])) for _ in range(4)]
    on_stage = calibrated and draw(st.booleans())
    flags: st.SearchStrategy[list[ModalityFlags]] = st.sampled_from(
        [["fluorescence"], ["brightfield", "camera"], ["fluorescence", "pmt", "aux"]]
    )
    made: list[Channel] = []
    for i in range(draw(st.integers(1, 4))):
        microscope = Microscope(
            **shared, pinholeDiameterUm=draw(st.none() | positive), modalityFlags=draw(flags)
        )
        volume = Volume(
            axesCalibrated=(calibrated, calibrated, False),
            axesCalibration=(pixel, pixel, 1.0),
            axesInterpretation=(
                draw(st.sampled_from(["distance", "time"]))
                if not made
                else made[0].volume.axesInterpretation[0],
                "distance",
                "distance",
            ),
            bitsPerComponentInMemory=16,
            bitsPerComponentSignificant=12,
            cameraTransformationMatrix=tuple(rotation),  # type: ignore[arg-type]
            componentCount=1,
            componentDataType="unsigned",
            voxelCount=(64, 48, 1),
            componentMaxima=[0.0],
            componentMinima=[0.0],
            pixelToStageTransformationMatrix=matrix(pixel, rotation, (64, 48))
            if on_stage
            else None,  # type: ignore[arg-type]
        )
        meta = ChannelMeta(
            draw(names),
            i,
            draw(
                st.builds(Color, bytes_, bytes_, bytes_, st.integers(1, 255).map(lambda a: a / 255))
            ),
            draw(st.none() | positive),
            draw(st.none() | positive),
        )
        made.append(Channel(meta, None, microscope, volume))
    return made


@settings(max_examples=150)
@given(made=channels())
def test_channels(made: list[Channel]) -> None:
    attributes = Attributes(
        16, 12, len(made), 48, "unsigned", 7, widthPx=64, channelCount=len(made)
    )
    tree = picture.tree(made, picture.FirstFrame(1.0, 2.0, (3.0, 4.0, 5.0)))
    decoded = clx_lite.decode(clx_lite.encode(tree))
    found = parse_metadata.parse(decoded, attributes=attributes, experiment=[], text_info={})
    assert found.channels is not None
    for one, other in zip(found.channels, made, strict=True):
        assert one.channel == other.channel
        assert one.microscope == other.microscope
        a, b = vars(one.volume).copy(), vars(other.volume).copy()
        for key in ("pixelToStageTransformationMatrix", "cameraTransformationMatrix"):
            assert (a[key] is None) == (b[key] is None)
            if a[key] is not None:
                np.testing.assert_allclose(a.pop(key), b.pop(key), rtol=1e-12, atol=1e-12)
        assert a == b
        assert one.loops is None or isinstance(one.loops, LoopIndices)


@settings(max_examples=60)
@given(data=st.data())
def test_maps_of_arrays_and_of_entries_are_the_same(data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, 10**9), unique=True, max_size=60))
    index = np.array(indices, np.int64)
    position = np.arange(len(index), dtype=np.uint64) * np.uint64(4096)
    size = position + np.uint64(7)
    others = [(b"CustomData|X!", 5, 6), (b"ImageTextInfoLV!", 7, 8), (b"Z!", 1, 1)]
    one_by_one = [
        (chunks.frame_name(i), p, s)
        for i, p, s in zip(indices, position.tolist(), size.tolist(), strict=True)
    ]
    expected = chunks.encode_map([*others, *one_by_one], 1 << 40)
    assert chunks.encode_map(others, 1 << 40, (index, position, size)) == expected


def test_a_map_of_many_frames_is_read_back() -> None:
    index = np.random.default_rng(0).permutation(200_000).astype(np.int64)
    position = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(8192)
    data = chunks.encode_map([], 1 << 40, (index, position, position))
    found = chunks.parse_map(data[chunks.HEADER.size + len(chunks.MAP_NAME) :], 1 << 40)
    assert sorted(found.frame_index.tolist()) == list(range(200_000))
    np.testing.assert_array_equal(
        found.frame_position, (found.frame_index.astype(np.uint64) + np.uint64(1)) * np.uint64(8192)
    )
