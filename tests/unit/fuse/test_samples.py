"""The buffer of samples: what was kept last comes back as it was."""

from __future__ import annotations

from dataclasses import fields

from imagenetfs.counters import LATENCY_BUCKETS
from imagenetfs.fuse.samples import BUFFER_BYTES, SAMPLES, Sample, SampleBuffer


def sample(number: int) -> Sample:
    latency = tuple(number + at for at in range(LATENCY_BUCKETS))
    plain = [field.name for field in fields(Sample) if field.name != "latency"]
    return Sample(**{name: number * 100 + at for at, name in enumerate(plain)}, latency=latency)


def test_an_empty_buffer() -> None:
    assert SampleBuffer(memoryview(bytearray(BUFFER_BYTES))).last() == []


def test_samples_come_back_as_they_were() -> None:
    memory = memoryview(bytearray(BUFFER_BYTES))
    writer, reader = SampleBuffer(memory), SampleBuffer(memory)
    for number in range(1, 4):
        writer.keep(sample(number))
    assert reader.last() == [sample(1), sample(2), sample(3)]
    assert reader.last(2) == [sample(2), sample(3)]


def test_the_oldest_give_way() -> None:
    buffer = SampleBuffer(memoryview(bytearray(BUFFER_BYTES)))
    for number in range(2 * SAMPLES + 7):
        buffer.keep(sample(number))
    assert buffer.last() == [sample(n) for n in range(SAMPLES + 7, 2 * SAMPLES + 7)]


def test_sums_of_any_size() -> None:
    buffer = SampleBuffer(memoryview(bytearray(BUFFER_BYTES)))
    buffer.keep(Sample(at=2**63 + 5, bytes=2**64 - 1))
    assert buffer.last() == [Sample(at=2**63 + 5, bytes=2**64 - 1)]
